# SPDX-License-Identifier: GPL-2.0-only
"""C files of the kernel, as tree-sitter reads them: functions, and what stands in them.

What the kernel's macros make of C no grammar knows; they are hidden from the parser by other words
of the same length, so that offsets stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tree_sitter_c
from tree_sitter import Language, Node, Parser

_LOOP = re.compile(rb"\b(\w*for_each\w*|scoped_guard)(?=\s*\()")
"""Macros that a statement follows: to the parser they are a ``while`` of the same length."""

_ANNOTATION = re.compile(rb"\b(__init|__exit|__user|__free\(\w+\)|__always_unused)(?=\W)")
"""What the kernel puts between types and names, and no grammar of C knows."""

_SHOWN = 60
"""Characters of a statement that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """*text* in place of the bytes from *start* to *end* of a file."""

    start: int
    end: int
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function as it stands in a file; offsets are in bytes of the file.

    :param body: where its first statement may stand, behind the brace.
    :param at: where its name stands.
    :param parameters: names of its parameters.
    :param is_void: whether it returns nothing.
    """

    name: str
    start: int
    end: int
    body: int
    at: int
    parameters: tuple[str, ...]
    is_void: bool


def mutated(text: bytes, function: Function, edits: Iterable[Edit]) -> bytes:
    """Return the text of a function with changes made."""
    parts, at = [], function.start
    for edit in sorted(edits, key=lambda edit: edit.start):
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return b"".join([*parts, text[at : function.end]])


def functions_of(text: bytes) -> Iterator[tuple[Node, Function]]:
    """Return the functions of a file that can be called by another of the same parameters."""
    readable = _LOOP.sub(lambda found: b"while".ljust(len(found.group())), text)
    readable = _ANNOTATION.sub(lambda found: b" " * len(found.group()), readable)
    tree = Parser(Language(tree_sitter_c.language())).parse(readable)
    for node in tree.root_node.children:
        if node.type == "function_definition" and (made := _function(node)) is not None:
            yield node, made


def _function(node: Node) -> Function | None:
    declarator, body = node.child_by_field_name("declarator"), node.child_by_field_name("body")
    kind = node.child_by_field_name("type")
    pointer = False
    while declarator is not None and declarator.type == "pointer_declarator":
        pointer, declarator = True, declarator.child_by_field_name("declarator")
    if declarator is None or body is None or kind is None:
        return None
    name = declarator.child_by_field_name("declarator")
    parameters = declarator.child_by_field_name("parameters")
    if name is None or parameters is None or name.type != "identifier":
        return None
    named = []
    for one in parameters.named_children:
        if one.type != "parameter_declaration":
            return None  # a variable number of them cannot be passed on
        last = one.child_by_field_name("declarator")
        while last is not None and last.type != "identifier":
            last = last.child_by_field_name("declarator")
        if last is not None:
            named.append(said(last))
        elif said(one) != "void":
            return None
    return Function(
        name=said(name),
        start=node.start_byte,
        end=node.end_byte,
        body=body.start_byte + 1,
        at=name.start_byte,
        parameters=tuple(named),
        is_void=said(kind) == "void" and not pointer,
    )


def said(node: Node) -> str:
    """Return what stands there, as the parser sees it."""
    return (node.text or b"").decode()


class Inside:
    """A function, for operators to look at."""

    def __init__(self, node: Node, function: Function, text: bytes) -> None:
        self.function = function
        self._text = text
        self.nodes = tuple(_walk(node.child_by_field_name("body") or node))

    def text(self, node: Node) -> bytes:
        """Return what stands in the file, where the parser may have seen something else."""
        return self._text[node.start_byte : node.end_byte]

    def shown(self, node: Node) -> str:
        """Return a statement on one line, for people."""
        words = " ".join(self.text(node).decode(errors="replace").split())
        return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 3]}..."

    def statements(self) -> Iterator[tuple[Node, Node]]:
        """Return statements that are one expression, with that expression."""
        for node in self.nodes:
            if node.type == "expression_statement" and node.named_children:
                yield node, node.named_children[0]

    def calls(self) -> Iterator[tuple[Node, Node, str]]:
        """Return statements that are a call, with it, and the name of what is called."""
        for statement, expression in self.statements():
            if expression.type == "call_expression":
                yield statement, expression, callee(expression)


def _walk(node: Node) -> Iterator[Node]:
    for child in node.named_children:
        yield child
        yield from _walk(child)


def callee(call: Node) -> str:
    """Return the last name of what is called: ``put`` of ``x->put(y)``."""
    function = call.child_by_field_name("function")
    while function is not None and function.type == "call_expression":
        function = function.child_by_field_name("function")
    return re.split(r"\W+", said(function))[-1] if function is not None else ""
