# SPDX-License-Identifier: GPL-2.0-only
"""Symbols of the kernel's configuration, read by kconfiglib, and whether a request makes sense.

It only reads: ``make`` writes the configuration.
"""

from __future__ import annotations

import difflib
import functools
import re
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import kconfiglib

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import KconfigError
from harness.base.sandbox import OPEN, Sandbox
from harness.base.spec import DEFAULT_CC
from harness.base.timeouts import HOST
from harness.kernel.fragment import Request, read_config

_DEFINED = re.compile(r"^\s*(?:menu)?config\s+(\w+)\s*$", re.M)

_FORMS = {
    kconfiglib.INT: "a number without zeros before it, such as 10",
    kconfiglib.HEX: "a number such as 0x1f",
    kconfiglib.STRING: 'a text in quotes, such as "two words"',
    kconfiglib.TRISTATE: "y, m or n",
    kconfiglib.BOOL: "y or n; it cannot be a module",
}


class _Kconfig(kconfiglib.Kconfig):  # type: ignore[misc]
    """kconfiglib 14.1.0 taught what Kconfig has learnt since.

    The properties ``modules`` (Linux 5.13) and ``transitional`` (6.18) are skipped, ``depends on
    A if B`` (7.1) is read, and int and hex symbols without a default are 0 as in the kernel's
    own ``scripts/kconfig/symbol.c``.

    :ivar transitional: names of symbols that are read of old configurations only.

    It keeps to itself what kconfiglib takes from the process, so that other threads are left
    alone: variables come from *environment*, and its programs run in *sandbox*, without one in
    *directory*, since the compiler probes of Kconfig leave files.
    """

    def __init__(
        self, environment: Mapping[str, str], sandbox: Sandbox, directory: Path, config: Path | None
    ) -> None:
        self._environment = environment
        self._sandbox = sandbox
        self._directory = directory
        self._config = config.resolve() if config is not None else None
        self._in_properties: list[Any] = []
        self.transitional: set[str] = set()
        self.arch = environment["ARCH"]
        self._opened: weakref.WeakSet[Any] = weakref.WeakSet()
        try:
            super().__init__("Kconfig", warn=False)
        except BaseException:
            for file in list(self._opened):
                file.close()
            raise
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

    def _open(self, filename: str, mode: str) -> Any:
        """Open a file of the tree, or the configuration.

        A message about what cannot be parsed quotes the file: it shall be no key of the user's.
        """
        path = Path(filename).resolve()
        if path != self._config and not path.is_relative_to(self.srctree):
            raise KconfigError(
                f"{filename} is outside the tree", hint="a patch that asks for it is worth a look"
            )
        file = super()._open(filename, mode)
        self._opened.add(file)
        return file

    def _shell(self, _function: str, line: str) -> str:
        done = self._sandbox.run(
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

    @functools.cached_property
    def elsewhere(self) -> Mapping[str, str]:
        """The symbols that are defined for other architectures alone: name -> which, and where.

        All Kconfig files below ``arch`` are read, those of this architecture not.
        """
        found: dict[str, list[tuple[str, Path]]] = {}
        top = Path(self.srctree) / "arch"
        for path in sorted(top.glob("*/**/Kconfig*")):
            arch = path.relative_to(top).parts[0]
            if arch != self.arch:
                for name in _DEFINED.findall(path.read_text(errors="replace")):
                    found.setdefault(name, []).append((arch, path.relative_to(top.parent)))
        return {
            name: f"{', '.join(dict.fromkeys(arch for arch, _ in places))} ({places[0][1]})"
            for name, places in found.items()
            if name not in self.syms or not self.syms[name].nodes
        }

    def _parse_props(self, node: Any) -> None:
        self._in_properties.append(node)
        try:
            super()._parse_props(node)
        finally:
            self._in_properties.pop()

    def _tokenize(self, line: str) -> Any:
        if self._in_properties and line.strip() in ("modules", "transitional"):
            if line.strip() == "transitional":
                self.transitional.add(self._in_properties[-1].item.name)
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
    tree: Path,
    arch: Architecture,
    config: Path | None = None,
    *,
    cc: str = DEFAULT_CC,
    sandbox: Sandbox = OPEN,
) -> Any:
    """Parse a tree's Kconfig files (2 to 3 s for a whole kernel); return a ``kconfiglib.Kconfig``.

    :param config: a ``.config`` to load, or ``None``.
    :param cc: the compiler, whose abilities are values of symbols.
    :param sandbox: for what the Kconfig files run; it shows the tree.
    :raises KconfigError: when the files cannot be parsed.
    """
    environment = {
        "srctree": str(tree.resolve()),
        "ARCH": arch.kernel,
        "SRCARCH": arch.kernel,
        "KERNELVERSION": "",
        "CC": cc,
        "LD": f"{arch.prefix}ld",
        "AR": f"{arch.prefix}ar",
        "NM": f"{arch.prefix}nm",
        "OBJCOPY": f"{arch.prefix}objcopy",
        "HOSTCC": "gcc",
        "RUSTC": "rustc",
        "BINDGEN": "bindgen",
        "PAHOLE": "pahole",
        "PYTHON3": "python3",
        "CONFIG_SHELL": "/bin/sh",
        "CLANG_FLAGS": "",
        "USERCFLAGS": "",
        "USERLDFLAGS": "",
        "CC_VERSION_TEXT": _version_text(cc).replace("#", ""),
        "RUSTC_VERSION_TEXT": "",
        "PAHOLE_VERSION": "0",
    }
    if config is not None:
        # What make has found out about programs that we do not ask.
        values = read_config(config)
        for name in ("RUSTC_VERSION_TEXT", "PAHOLE_VERSION"):
            environment[name] = values.get(name, environment[name]).strip('"')
    with tempfile.TemporaryDirectory(prefix="harness-kconfig-") as scratch:
        try:
            kconfig = _Kconfig(environment, sandbox, Path(scratch), config)
            if config is not None:
                kconfig.load_config(str(config.resolve()))
        except (kconfiglib.KconfigError, OSError) as error:
            raise KconfigError(f"cannot read the Kconfig files of {tree}: {error}") from error
        return kconfig


def _version_text(compiler: str) -> str:
    lines = command.run([compiler, "--version"], timeout_s=HOST.tool_s).stdout.splitlines()
    return lines[0] if lines else compiler


def check_requests(
    tree: Path,
    arch: Architecture,
    requests: Iterable[Request],
    *,
    cc: str = DEFAULT_CC,
    sandbox: Sandbox = OPEN,
) -> None:
    """Refuse unknown symbols and values of the wrong type before anything is built.

    :raises KconfigError: naming file and line of the first, with the nearest known name.
    """
    kconfig = load_kconfig(tree, arch, cc=cc, sandbox=sandbox)
    for request in requests:
        symbol = kconfig.syms.get(request.symbol)
        if symbol is None or not symbol.nodes:
            raise unknown_symbol(kconfig, request.symbol, f"{request.file}:{request.line}: ")
        if not _fits(symbol, request.value):
            kind = kconfiglib.TYPE_TO_STR[symbol.orig_type]
            raise KconfigError(
                f"{request.file}:{request.line}: CONFIG_{request.symbol} is of type {kind}, "
                f"{request.value!r} is not",
                symbols=(request.symbol,),
                hint=_FORMS.get(symbol.orig_type),
            )


def unknown_symbol(kconfig: Any, name: str, where: str = "") -> KconfigError:
    """Return the error about a symbol that this kernel does not have, with what may be meant.

    :param where: what the message begins with.
    """
    if name in kconfig.elsewhere:
        return KconfigError(
            f"{where}there is no symbol CONFIG_{name} for {kconfig.arch}",
            symbols=(name,),
            hint=f"it is of {kconfig.elsewhere[name]}",
        )
    near = nearest(name, (symbol.name for symbol in kconfig.unique_defined_syms))
    return KconfigError(
        f"{where}there is no symbol CONFIG_{name} in this kernel",
        symbols=(name,),
        hint=f"did you mean {', '.join(near)}?" if near else "no symbol has a name like it",
    )


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return what may be meant by a name that is none, the likeliest first, three at most.

    Case, a prefix too many, words that were left out, and letters are what people get wrong.
    """
    wanted = re.sub(r"^(?:CONFIG_)+", "", name.upper().strip()) or name
    names = list(known)
    if wanted in names:
        return [wanted]
    ending = sorted((n for n in names if n.endswith(f"_{wanted}")), key=len)
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.75)
    parts = sorted((n for n in names if f"_{wanted}_" in f"_{n}_"), key=len)
    return list(dict.fromkeys((*ending[:2], *close, *parts)))[:3]


def _fits(symbol: Any, value: str) -> bool:
    match symbol.orig_type:
        case kconfiglib.BOOL:
            return value in ("y", "n")
        case kconfiglib.TRISTATE:
            return value in ("y", "m", "n")
        case kconfiglib.INT:
            # As scripts/kconfig/symbol.c has it: sym_string_valid().
            return re.fullmatch(r"-?(?:0|[1-9]\d*)", value) is not None or value == "n"
        case kconfiglib.HEX:
            return re.fullmatch(r"0[xX][0-9a-fA-F]+", value) is not None or value == "n"
        case _:
            return re.fullmatch(r'".*"', value) is not None or value == "n"
