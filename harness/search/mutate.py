# SPDX-License-Identifier: GPL-2.0-only
"""Small wrong changes to C functions, made systematically.

tree-sitter reads a file, and each operator of :mod:`harness.base.mutation` is put to every place
that it fits.  One :class:`Mutation` is one such change, inside one function.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tree_sitter import Node

from harness.base.mutation import OPERATORS, MutationSpec, SwapSpec
from harness.search.c_source import Edit, Function, Inside, callee, functions_of, mutated, said

_ERRNO = re.compile(r"E[A-Z0-9]{2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One wrong change.

    :param name: ``FILE.FUNCTION.OPERATOR.WHAT``, with a number when there are more such places; it
        does not depend on lines.
    :param what: what is wrong, one line.
    :param lines: numbers of the file's lines that are changed.
    :param edits: apart from each other, in their order.
    """

    name: str
    file: str
    function: Function
    operator: str
    what: str
    lines: tuple[int, ...]
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A change before it has a name.

    :param word: what is changed, for the name.
    :param nodes: what stands there now.
    """

    word: str
    what: str
    nodes: tuple[Node, ...]
    edits: tuple[Edit, ...]


def mutations_of(file: str, text: bytes, spec: MutationSpec) -> tuple[Mutation, ...]:
    """Return every change of *spec* to a file, each once, function by function.

    :param file: its path in the kernel tree.
    """
    found: list[Mutation] = []
    seen: set[bytes] = set()
    for node, function in functions_of(text):
        named: Counter[str] = Counter()
        inside = Inside(node, function, text)
        for operator in OPERATORS:
            for change in _MAKERS[operator](inside, spec):
                result = mutated(text, function, change.edits)
                if result in seen:
                    continue
                seen.add(result)
                stem = file.rpartition("/")[2].removesuffix(".c")
                name = f"{stem}.{function.name}.{operator}.{change.word}"
                named[name] += 1
                number = f".{named[name]}" if named[name] > 1 else ""
                found.append(
                    Mutation(
                        name=name + number,
                        file=file,
                        function=function,
                        operator=operator,
                        what=f"{function.name}(): {change.what}",
                        lines=tuple(_lines(change.nodes)),
                        edits=tuple(sorted(change.edits, key=lambda edit: edit.start)),
                    )
                )
    return tuple(found)


def _lines(nodes: Iterable[Node]) -> list[int]:
    return sorted(
        {line for node in nodes for line in range(node.start_point[0] + 1, node.end_point[0] + 2)}
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _without(node: Node) -> Edit:
    """Leave a statement out; where one has to stand, nothing is done."""
    block = node.parent is not None and node.parent.type == "compound_statement"
    return Edit(start=node.start_byte, end=node.end_byte, text=b"" if block else b";")


# -- operators ---------------------------------------------------------------------------------


def _drop(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    for statement, _, name in inside.calls():
        if _matches(name, spec.drop):
            what = f"leaves out {inside.shown(statement)}"
            yield _Found(word=name, what=what, nodes=(statement,), edits=(_without(statement),))


def _double(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    for statement, _, name in inside.calls():
        if _matches(name, spec.double):
            text = inside.text(statement)
            yield _Found(
                word=name,
                what=f"does twice {inside.shown(statement)}",
                nodes=(statement,),
                edits=(_replaced(statement, b"{ " + text + b" " + text + b" }"),),
            )


def _instead(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    alone = {expression.start_byte for _, expression in inside.statements()}
    for node in inside.nodes:
        name = callee(node) if node.type == "call_expression" else ""
        if name in spec.instead and node.start_byte not in alone:
            other = spec.instead[name]
            yield _Found(
                word=name,
                what=f"takes {other} for {inside.shown(node)}",
                nodes=(node,),
                edits=(_replaced(node, other.encode()),),
            )
            if _matches(name, spec.double):
                text = inside.text(node)
                yield _Found(
                    word=f"{name}.twice",
                    what=f"does twice {inside.shown(node)}",
                    nodes=(node,),
                    edits=(_replaced(node, b"(" + text + b", " + text + b")"),),
                )


def _rename(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    for node in inside.nodes:
        if node.type not in ("identifier", "while_statement"):
            continue
        found = re.match(rb"\w+", inside.text(node))
        name = found.group().decode() if found is not None else ""
        if name in spec.rename:
            end = node.start_byte + len(name)
            yield _Found(
                word=name,
                what=f"takes {spec.rename[name]} for {inside.shown(_line_of(node))}",
                nodes=(_header(node),),
                edits=(Edit(start=node.start_byte, end=end, text=spec.rename[name].encode()),),
            )


def _line_of(node: Node) -> Node:
    """Return what to show of where a name stands: the head of a loop, or the whole call."""
    if node.type == "while_statement":
        return _header(node)
    while node.parent is not None and node.parent.type in ("argument_list", "call_expression"):
        node = node.parent
    return node


def _header(node: Node) -> Node:
    return (node.child_by_field_name("condition") or node) if "while" in node.type else node


def _unlock(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    for statement, _, name in inside.calls():
        if name == "guard":
            yield _Found(
                word="guard",
                what=f"leaves out {inside.shown(statement)}",
                nodes=(statement,),
                edits=(_without(statement),),
            )
    for node in inside.nodes:
        body = node.child_by_field_name("body") if node.type == "while_statement" else None
        if body is not None and inside.text(node).startswith(b"scoped_guard"):
            yield _Found(
                word="scoped_guard",
                what=f"does without scoped_guard{inside.shown(_header(node))}",
                nodes=(_header(node),),
                edits=(Edit(start=node.start_byte, end=body.start_byte, text=b""),),
            )
    yield from _pairs(inside, spec)


def _pairs(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    """Leave out locking and unlocking of one thing in a whole function."""
    for lock, unlock in spec.locks.items():
        held: dict[str, list[Node]] = {}
        for statement, call, name in inside.calls():
            if name in (lock, unlock):
                arguments = said(call.child_by_field_name("arguments") or call)
                held.setdefault(arguments, []).append(statement)
        for arguments, statements in held.items():
            yield _Found(
                word=lock,
                what=f"leaves out {lock}{arguments} and {unlock}{arguments}",
                nodes=tuple(statements),
                edits=tuple(_without(statement) for statement in statements),
            )


def _errno(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:  # noqa: ARG001
    for node in inside.nodes:
        argument = node.child_by_field_name("argument") if node.type == "unary_expression" else None
        name = said(argument) if argument is not None else ""
        if _ERRNO.fullmatch(name) and said(node).startswith("-"):
            other = "EINVAL" if name == "EIO" else "EIO"
            yield _Found(
                word=name,
                what=f"takes -{other} for -{name}",
                nodes=(node,),
                edits=(_replaced(node, f"-{other}".encode()),),
            )


def _assign(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    for statement, expression in inside.statements():
        left = expression.child_by_field_name("left")
        if expression.type == "update_expression":
            left = expression.child_by_field_name("argument")
        target = " ".join(said(left).split()) if left is not None else ""
        if target and any(re.search(pattern, target) for pattern in spec.assign):
            yield _Found(
                word=re.sub(r"\W+", "_", target).strip("_"),
                what=f"leaves out {inside.shown(statement)}",
                nodes=(statement,),
                edits=(_without(statement),),
            )


def _cleanup(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:  # noqa: ARG001
    """Leave out what stands behind a label that errors go to."""
    for label in inside.nodes:
        if label.type != "labeled_statement":
            continue
        name = said(label.child_by_field_name("label") or label)
        behind: list[Node] = [label.named_children[-1]]
        after = label.next_named_sibling
        while after is not None and after.type not in ("labeled_statement", "return_statement"):
            behind.append(after)
            after = after.next_named_sibling
        for node in behind:
            if node.type in _UNDOING:
                found = re.match(rb"\w+", inside.text(node))
                word = found.group().decode() if found is not None else node.type
                yield _Found(
                    word=f"{name}.{word}",
                    what=f"leaves out {inside.shown(node)} behind {name}",
                    nodes=(node,),
                    edits=(_replaced(node, b";"),),
                )


_UNDOING = ("expression_statement", "for_statement", "while_statement", "if_statement")


def _swap(inside: Inside, spec: MutationSpec) -> Iterator[_Found]:
    for wanted in spec.swap:
        if wanted.function == inside.function.name:
            yield from _swapped(inside, wanted)


def _swapped(inside: Inside, wanted: SwapSpec) -> Iterator[_Found]:
    def of(pattern: str) -> list[Node]:
        return [
            node
            for node in inside.nodes
            if node.parent is not None
            and node.type.endswith("statement")
            and re.match(pattern, " ".join(inside.text(node).decode().split()))
        ]

    for first in of(wanted.first):
        for second in of(wanted.second):
            if first.parent == second.parent and first.end_byte <= second.start_byte:
                yield _Found(
                    word=_word(inside.text(second)),
                    what=f"does {inside.shown(second)} before {inside.shown(first)}",
                    nodes=(first, second),
                    edits=(
                        _replaced(first, inside.text(second)),
                        _replaced(second, inside.text(first)),
                    ),
                )
                return


def _word(text: bytes) -> str:
    return "_".join(re.findall(r"\w+", text.decode())[:3])


def _replaced(node: Node, text: bytes) -> Edit:
    return Edit(start=node.start_byte, end=node.end_byte, text=text)


_MAKERS: dict[str, Callable[[Inside, MutationSpec], Iterator[_Found]]] = {
    "drop": _drop,
    "double": _double,
    "instead": _instead,
    "rename": _rename,
    "unlock": _unlock,
    "errno": _errno,
    "assign": _assign,
    "cleanup": _cleanup,
    "swap": _swap,
}
