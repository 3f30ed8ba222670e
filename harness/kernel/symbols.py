# SPDX-License-Identifier: GPL-2.0-only
"""Symbols of the kernel's configuration, read by kconfiglib: what they are, and "why not?".

It only reads: it checks fragments before a build, and afterwards says which dependency of a lost
symbol is unmet.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import kconfiglib

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import KconfigError
from harness.base.spec import DEFAULT_CC
from harness.base.timeouts import HOST
from harness.kernel.fragment import Request


class _Kconfig(kconfiglib.Kconfig):  # type: ignore[misc]
    """kconfiglib 14.1.0 taught what Kconfig has learnt since.

    The properties ``modules`` (Linux 5.13) and ``transitional`` (6.18) are skipped, ``depends on
    A if B`` (7.1) is read, and int and hex symbols without a default are 0 as in the kernel's
    own ``scripts/kconfig/symbol.c``.

    It keeps to itself what kconfiglib takes from the process, so that other threads are left
    alone: variables come from *environment*, and its programs run in *directory*, where the
    compiler probes of Kconfig leave files.
    """

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self._environment = environment
        self._directory = directory
        self._in_properties = 0
        super().__init__("Kconfig", warn=False)
        for symbol in self.unique_defined_syms:
            if symbol.orig_type in (kconfiglib.INT, kconfiglib.HEX):
                zero = "0x0" if symbol.orig_type == kconfiglib.HEX else "0"
                symbol.defaults.append((self._lookup_const_sym(zero), self.y))
        self._invalidate_all()

    @property
    def srctree(self) -> str:
        return self._environment["srctree"]

    @srctree.setter
    def srctree(self, _of_the_process: str) -> None:
        pass

    @property
    def _functions(self) -> dict[str, tuple[Any, int, int | None]]:
        return self._own_functions

    @_functions.setter
    def _functions(self, functions: dict[str, tuple[Any, int, int | None]]) -> None:
        self._own_functions = functions | {"shell": (_Kconfig._shell, 1, 1)}

    def _shell(self, _function: str, line: str) -> str:
        done = command.run(
            ["sh", "-c", line],
            cwd=self._directory,
            env=self._environment,
            timeout_s=HOST.tool_s,
            check=False,
        )
        return " ".join(done.stdout.rstrip("\n").split("\n"))

    def _fn_val(self, args: list[str]) -> Any:
        name = args[0]
        if name in self._environment and name not in self.variables:
            return self._environment[name]
        return super()._fn_val(args)

    def _parse_props(self, node: Any) -> None:
        self._in_properties += 1
        try:
            super()._parse_props(node)
        finally:
            self._in_properties -= 1

    def _tokenize(self, line: str) -> Any:
        if self._in_properties and line.strip() in ("modules", "transitional"):
            return (None,)
        return super()._tokenize(line)

    def _expect_expr_and_eol(self) -> Any:
        expr = self._parse_expr(True)
        if self._check_token(kconfiglib._T_IF):
            condition = self._parse_expr(True)
            # "depends on A if B" binds only where B is set.
            expr = self._make_or(expr, (kconfiglib.NOT, condition))
        if self._tokens[self._tokens_i] is not None:
            self._trailing_tokens_error()
        return expr


def load_kconfig(
    tree: Path, arch: Architecture, config: Path | None = None, *, cc: str = DEFAULT_CC
) -> Any:
    """Parse a tree's Kconfig files (2 to 3 s for a whole kernel); return a ``kconfiglib.Kconfig``.

    :param config: a ``.config`` to load, or ``None``.
    :param cc: the compiler, whose abilities are values of symbols.
    :raises KconfigError: when the files cannot be parsed.
    """
    environment = {
        "srctree": str(tree.resolve()),
        "ARCH": arch.kernel,
        "SRCARCH": arch.kernel,
        "KERNELVERSION": "",
        "CC": cc,
        "LD": "ld",
        "AR": "ar",
        "NM": "nm",
        "OBJCOPY": "objcopy",
        "HOSTCC": "gcc",
        "RUSTC": "rustc",
        "BINDGEN": "bindgen",
        "PAHOLE": "pahole",
        "PYTHON3": "python3",
        "HOST.compile_sHELL": "/bin/sh",
        "CLANG_FLAGS": "",
        "USERCFLAGS": "",
        "USERLDFLAGS": "",
        "CC_VERSION_TEXT": _version_text(cc).replace("#", ""),
        "RUSTC_VERSION_TEXT": "",
        "PAHOLE_VERSION": "0",
    }
    with tempfile.TemporaryDirectory(prefix="harness-kconfig-") as scratch:
        try:
            kconfig = _Kconfig(environment, Path(scratch))
            if config is not None:
                kconfig.load_config(str(config.resolve()))
        except (kconfiglib.KconfigError, OSError) as error:
            raise KconfigError(f"cannot read the Kconfig files of {tree}: {error}") from error
        return kconfig


def _version_text(compiler: str) -> str:
    lines = command.run([compiler, "--version"], timeout_s=HOST.tool_s).stdout.splitlines()
    return lines[0] if lines else compiler


def check_requests(
    tree: Path, arch: Architecture, requests: Iterable[Request], *, cc: str = DEFAULT_CC
) -> None:
    """Refuse unknown symbols and values of the wrong type before anything is built.

    :raises KconfigError: naming file and line of the first, with the nearest known name.
    """
    kconfig = load_kconfig(tree, arch, cc=cc)
    for request in requests:
        symbol = kconfig.syms.get(request.symbol)
        if symbol is None or not symbol.nodes:
            near = difflib.get_close_matches(request.symbol, _defined(kconfig), n=3, cutoff=0.75)
            raise KconfigError(
                f"{request.file}:{request.line}: there is no symbol CONFIG_{request.symbol} "
                f"in this kernel",
                symbols=(request.symbol,),
                hint=f"did you mean {', '.join(near)}?" if near else "no symbol has a name like it",
            )
        if not _fits(symbol, request.value):
            kind = kconfiglib.TYPE_TO_STR[symbol.orig_type]
            raise KconfigError(
                f"{request.file}:{request.line}: CONFIG_{request.symbol} is of type {kind}, "
                f"{request.value!r} is not",
                symbols=(request.symbol,),
            )


def _defined(kconfig: Any) -> list[str]:
    return [symbol.name for symbol in kconfig.unique_defined_syms]


def _fits(symbol: Any, value: str) -> bool:
    match symbol.orig_type:
        case kconfiglib.BOOL:
            return value in ("y", "n")
        case kconfiglib.TRISTATE:
            return value in ("y", "m", "n")
        case kconfiglib.INT:
            return re.fullmatch(r"-?\d+", value) is not None or value == "n"
        case kconfiglib.HEX:
            return re.fullmatch(r"0[xX][0-9a-fA-F]+", value) is not None or value == "n"
        case _:
            return re.fullmatch(r'".*"', value) is not None or value == "n"


def explain(
    tree: Path, arch: Architecture, config: Path, name: str, *, cc: str = DEFAULT_CC
) -> str:
    """Say what a symbol is, what value it has in *config*, and why.

    :raises KconfigError: when the tree knows no such symbol.
    """
    kconfig = load_kconfig(tree, arch, config, cc=cc)
    plain = name.removeprefix("CONFIG_")
    symbol = kconfig.syms.get(plain)
    if symbol is None or not symbol.nodes:
        near = difflib.get_close_matches(plain.upper(), _defined(kconfig), n=3)
        raise KconfigError(
            f"there is no symbol CONFIG_{plain} in this kernel",
            symbols=(plain,),
            hint=f"did you mean {', '.join(near)}?" if near else None,
        )
    node = symbol.nodes[0]
    lines = [
        f"CONFIG_{plain}={symbol.str_value or 'n'}  ({kconfiglib.TYPE_TO_STR[symbol.type]})",
        f"  prompt      {node.prompt[0] if node.prompt else 'none: only others can set it'}",
        f"  defined     {', '.join(f'{n.filename}:{n.linenr}' for n in symbol.nodes)}",
        f"  depends on  {_expression(symbol.direct_dep)}",
    ]
    unmet = _unmet(symbol.direct_dep)
    lines += [f"  unmet       {text}" for text in unmet]
    if not unmet:
        lines.append("  unmet       nothing")
    lines += [f"  {word:11} {text}" for word, text in _pulled(symbol)]
    return "\n".join(lines)


def _pulled(symbol: Any) -> list[tuple[str, str]]:
    found = []
    for word, expr in (("selected by", symbol.rev_dep), ("implied by", symbol.weak_rev_dep)):
        active = [
            kconfiglib.expr_str(term)
            for term in kconfiglib.split_expr(expr, kconfiglib.OR)
            if kconfiglib.expr_value(term)
        ]
        if active:
            found.append((word, ", ".join(active)))
    return found


def why(kconfig: Any, name: str, value: str) -> str:
    """Say in the field's words why a symbol did not get a value."""
    symbol = kconfig.syms[name]
    now = symbol.str_value or "n"
    if value == "n":
        pulled = _pulled(symbol)
        by = "; ".join(f"{word} {text}" for word, text in pulled)
        return f"is {now}: {by}" if by else f"is {now}, its default, and cannot be changed"
    unmet = _unmet(symbol.direct_dep)
    if unmet:
        return f"is {now}: unmet dependency {'; '.join(unmet)}"
    if symbol.choice is not None and symbol.choice.selection is not symbol:
        chosen = symbol.choice.selection
        return f"is {now}: the choice fell on {chosen.name if chosen else 'nothing'}"
    if not any(node.prompt for node in symbol.nodes):
        return f"is {now}: it has no prompt, only other symbols can set it"
    return f"is {now}"


def _unmet(expr: Any) -> list[str]:
    """Return the terms of a dependency that are not met, with the values that decide them."""
    return [
        f"{kconfiglib.expr_str(term)} ({_values(term)})"
        for term in kconfiglib.split_expr(expr, kconfiglib.AND)
        if not kconfiglib.expr_value(term)
    ]


def _values(expr: Any) -> str:
    symbols = sorted(
        (item for item in kconfiglib.expr_items(expr) if getattr(item, "name", None)),
        key=lambda item: item.name,
    )
    return ", ".join(f"{s.name}={s.str_value or 'n'}" for s in symbols if not _constant(s))


def _constant(item: Any) -> bool:
    return bool(getattr(item, "is_constant", False))


def _expression(expr: Any) -> str:
    text = str(kconfiglib.expr_str(expr))
    return "nothing" if text == "y" else text
