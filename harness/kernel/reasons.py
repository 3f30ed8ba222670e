# SPDX-License-Identifier: GPL-2.0-only
"""Why a symbol of the kernel's configuration has the value it has, in the field's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import kconfiglib

from harness.base.arch import Architecture
from harness.base.sandbox import OPEN, Sandbox
from harness.base.spec import DEFAULT_CC
from harness.kernel.fragment import read_config
from harness.kernel.symbols import load_kconfig, unknown_symbol

_LEVEL = {"n": 0, "m": 1, "y": 2}
_PROBED = "what Kconfig asks of the compiler or the host for it is not there"
_MOST = 4
"""Symbols that a reason names, of many."""


def explain(
    tree: Path,
    arch: Architecture,
    config: Path,
    name: str,
    *,
    cc: str = DEFAULT_CC,
    sandbox: Sandbox = OPEN,
) -> str:
    """Say what a symbol is, what value it has in *config*, and why.

    :param sandbox: see :func:`harness.kernel.symbols.load_kconfig`.
    :raises KconfigError: when the tree knows no such symbol.
    """
    kconfig = load_kconfig(tree, arch, config, cc=cc, sandbox=sandbox)
    plain = name.removeprefix("CONFIG_")
    symbol = kconfig.syms.get(plain)
    if symbol is None or not symbol.nodes:
        raise unknown_symbol(kconfig, plain)
    now = read_config(config).get(plain, "n")
    value = f"={now}" if _is(symbol, now) == f"is {now}" else " is not set"
    lines = [
        f"CONFIG_{plain}{value}  ({kconfiglib.TYPE_TO_STR[symbol.type]})",
        f"  prompt      {_prompt(symbol)}",
        f"  defined     {', '.join(f'{n.filename}:{n.linenr}' for n in symbol.nodes)}",
        f"  depends on  {_expression(symbol.direct_dep)}",
    ]
    unmet = list(_unmet(kconfig, symbol.direct_dep, 1)) or ["nothing"]
    lines += [f"  unmet       {text}" for text in unmet]
    hidden = _hidden(kconfig, symbol, 1) if unmet == ["nothing"] else ""
    lines += [f"  hidden      {hidden}"] if hidden else []
    if (limits := _range(symbol)) is not None:
        lines.append(f"  range       {limits[0]} to {limits[1]}")
    if plain in kconfig.transitional:
        lines.append(f"  now         {_successors(kconfig, symbol)}")
    lines += [f"  {word:11} {text}" for word, text in _pulled(symbol, 0)]
    return "\n".join(lines)


def why(kconfig: Any, name: str, wanted: str, now: str) -> str:
    """Say why a symbol has the value *now*, not the one that is *wanted*."""
    symbol = kconfig.syms[name]
    if name in kconfig.transitional:
        return f"is transitional, read of old configurations only: {_successors(kconfig, symbol)}"
    if symbol.orig_type not in (kconfiglib.BOOL, kconfiglib.TRISTATE):
        reason = _why_value(kconfig, symbol, wanted, now)
    elif _LEVEL[now] > _LEVEL[wanted]:
        reason = _why_more(kconfig, symbol, wanted, now)
    else:
        reason = _why_less(kconfig, symbol, wanted)
    return f"{_is(symbol, now)}: {reason}" if reason else _is(symbol, now)


def _is(symbol: Any, now: str) -> str:
    number_or_text = symbol.orig_type not in (kconfiglib.BOOL, kconfiglib.TRISTATE)
    return "is not set" if number_or_text and now == "n" else f"is {now}"


def _why_less(kconfig: Any, symbol: Any, wanted: str) -> str:
    """Say why a symbol is n, or m where y was asked for."""
    level = 1 if symbol.type == kconfiglib.BOOL else _LEVEL[wanted]
    if not _has_prompt(symbol):
        setters = _setters(symbol) or ", and none does: n is its default"
        return f"it has no prompt, only other symbols can set it{setters}"
    if wanted == "m" and not kconfig.modules.tri_value:
        level = 1
    unmet = list(_unmet(kconfig, symbol.direct_dep, level))
    if unmet:
        reason = f"unmet dependency {'; '.join(unmet)}"
        if not list(_unmet(kconfig, symbol.direct_dep, 1)):
            reason = f"no more than a module, by dependency {'; '.join(unmet)}"
        return reason
    if symbol.choice is not None and symbol.choice.selection is not symbol:
        chosen = symbol.choice.selection
        return f"the choice fell on {chosen.name if chosen else 'nothing'}"
    return _hidden(kconfig, symbol, level)


def _why_more(kconfig: Any, symbol: Any, wanted: str, now: str) -> str:
    """Say why a symbol is y or m where less was asked for."""
    if selected := [f"{word} {text}" for word, text in _pulled(symbol, _LEVEL[wanted], "selected")]:
        return "; ".join(selected)
    if wanted == "m" and not kconfig.modules.tri_value:
        return "there are no modules (MODULES=n)"
    if symbol.choice is not None and symbol.choice.selection is symbol:
        others = [other.name for other in symbol.choice.syms if other is not symbol]
        where = f": choose {_some(others, 'or')}" if others else ""
        return f"the choice fell on it, and there has to be one{where}"
    by = "; ".join(f"{word} {text}" for word, text in _pulled(symbol, _LEVEL[wanted]))
    default = by or f"{now} is its default"
    if not _has_prompt(symbol):
        return f"it has no prompt{_defaults(symbol) or f', and {default}'}"
    hidden = _hidden(kconfig, symbol, 1)
    return f"{hidden}, and {default}" if hidden else f"{default}, and cannot be changed"


def _why_value(kconfig: Any, symbol: Any, wanted: str, now: str) -> str:
    """Say why a number or a text is another one."""
    unmet = list(_unmet(kconfig, symbol.direct_dep, 1))
    if unmet:
        return f"unmet dependency {'; '.join(unmet)}"
    if not _has_prompt(symbol):
        return f"it has no prompt{_defaults(symbol) or f', and {now} is its default'}"
    if hidden := _hidden(kconfig, symbol, 1):
        return f"{hidden}, and {now} is its default"
    kind = kconfiglib.TYPE_TO_STR[symbol.orig_type]
    if wanted == "n":
        return f"it is of type {kind}, and has a value where its dependencies are met"
    limits = _range(symbol)
    if limits is not None:
        return f"its range is {limits[0]} to {limits[1]}"
    return ""


# -- what decides -----------------------------------------------------------------------------


def _unmet(kconfig: Any, expr: Any, level: int) -> Iterator[str]:
    """Return the terms of a dependency that are below *level*, with the values that decide them."""
    terms = kconfiglib.split_expr(expr, kconfiglib.AND)
    for at, term in enumerate(terms):
        if kconfiglib.expr_value(term) >= level or term in terms[:at]:
            continue
        if isinstance(term, kconfiglib.Choice):
            found = list(_unmet(kconfig, term.direct_dep, level))
            yield from found or ["the choice that it is of"]
        else:
            values = _values(kconfig, term) or _PROBED * (term is kconfig.n)
            yield f"{_text(term)} ({values})" if values else _text(term)


def _hidden(kconfig: Any, symbol: Any, level: int) -> str:
    """Say why nobody is asked for a symbol whose dependencies are met; empty when somebody is."""
    found = []
    for node in symbol.nodes:
        if node.prompt is None:
            continue
        condition = node.prompt[1]
        if kconfiglib.expr_value(condition) >= level:
            return ""
        menus = _menus(node)
        for menu in menus:
            terms = "; ".join(_unmet(kconfig, menu.visibility, level))
            if terms:
                found.append(f'the menu "{menu.prompt[0]}" is visible only if {terms}')
        of_menus = {text for menu in menus for text in _unmet(kconfig, menu.visibility, level)}
        terms = "; ".join(t for t in _unmet(kconfig, condition, level) if t not in of_menus)
        if terms:
            found.append(f"its prompt is there only if {terms}")
    return "; ".join(dict.fromkeys(found))


def _menus(node: Any) -> list[Any]:
    """Return the menus around a symbol that are visible under a condition."""
    found = []
    while (node := node.parent) is not None:
        if node.item == kconfiglib.MENU and node.visibility is not None:
            found.append(node)
    return found


def _pulled(symbol: Any, above: int, only: str = "") -> list[tuple[str, str]]:
    """Return what selects and implies a symbol to more than the level *above*."""
    found = []
    for word, expr in (("selected by", symbol.rev_dep), ("implied by", symbol.weak_rev_dep)):
        active = [
            _text(term)
            for term in kconfiglib.split_expr(expr, kconfiglib.OR)
            if kconfiglib.expr_value(term) > above
        ]
        if active and word.startswith(only):
            found.append((word, ", ".join(active)))
    return found


def _range(symbol: Any) -> tuple[str, str] | None:
    """Return the limits of a number that hold now."""
    for low, high, condition in symbol.ranges:
        if kconfiglib.expr_value(condition):
            return low.str_value, high.str_value
    return None


def _setters(symbol: Any) -> str:
    """Return what can set a symbol without a prompt: whoever selects it, else its defaults."""
    names = [
        _text(kconfiglib.split_expr(term, kconfiglib.AND)[0])
        for term in kconfiglib.split_expr(symbol.rev_dep, kconfiglib.OR)
    ]
    if names == ["n"]:
        return _defaults(symbol)
    return f"; {_some(names, 'or')} select{'' if len(names) > 1 else 's'} it"


def _defaults(symbol: Any) -> str:
    found = [
        f"{_text(value)} if {_text(condition)}"
        for value, condition in symbol.defaults
        if _text(condition) != "y"
    ]
    return f"; it is {_some(found, 'or')}" if found else ""


def _successors(kconfig: Any, symbol: Any) -> str:
    """Name what a transitional symbol has become: what has it as its default."""
    new = [
        other.name
        for other in kconfig.unique_defined_syms
        if any(symbol in kconfiglib.expr_items(value) for value, _ in other.defaults)
    ]
    return f"it is {_some(new, 'or')} now" if new else "nothing takes its place"


def _has_prompt(symbol: Any) -> bool:
    return any(node.prompt for node in symbol.nodes)


# -- how it is written ---------------------------------------------------------------------------


def _values(kconfig: Any, expr: Any) -> str:
    symbols = sorted(
        (item for item in kconfiglib.expr_items(expr) if getattr(item, "name", None)),
        key=lambda item: str(item.name),
    )
    named = [symbol for symbol in symbols if not _is_constant(symbol)]
    unknown = {symbol.name for symbol in named if not getattr(symbol, "nodes", True)}
    elsewhere = kconfig.elsewhere if unknown else {}
    return ", ".join(
        f"{symbol.name} is of {elsewhere[symbol.name]}"
        if symbol.name in elsewhere
        else f"there is no {symbol.name} in this kernel"
        if symbol.name in unknown
        else f"{symbol.name}={_value(symbol)}"
        for symbol in named
    )


def _text(expr: Any) -> str:
    return str(kconfiglib.expr_str(expr, _name))


def _name(item: Any) -> str:
    if isinstance(item, kconfiglib.Choice):
        prompts = [node.prompt[0] for node in item.nodes if node.prompt is not None]
        return f'(choice "{prompts[0]}")' if prompts else "(choice)"
    return str(kconfiglib.standard_sc_expr_str(item))


def _value(symbol: Any) -> str:
    """Return a symbol's value as a configuration has it."""
    if getattr(symbol, "type", None) == kconfiglib.STRING:
        return f'"{kconfiglib.escape(symbol.str_value)}"'
    return symbol.str_value or "n"


def _is_constant(item: Any) -> bool:
    # A number without quotes is a symbol to kconfiglib, one that nobody defines.
    bare = not getattr(item, "nodes", True) and re.fullmatch(r"-?\d+|0[xX][\da-fA-F]+", item.name)
    return bool(getattr(item, "is_constant", False) or bare)


def _expression(expr: Any) -> str:
    text = _text(expr)
    return "nothing" if text == "y" else text


def _prompt(symbol: Any) -> str:
    for node in symbol.nodes:
        if node.prompt is not None:
            return str(node.prompt[0])
    return "none: only others can set it"


def _some(names: Iterable[str], word: str) -> str:
    """Return names as people say them, the first few of many."""
    found = list(dict.fromkeys(names))
    if len(found) > _MOST:
        return f"{', '.join(found[:_MOST])} {word} {len(found) - _MOST} more"
    return f" {word} ".join(filter(None, (", ".join(found[:-1]), found[-1])))
