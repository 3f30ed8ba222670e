# SPDX-License-Identifier: GPL-2.0-only
"""What a splat is called: its first line, without what differs from run to run.  Pure."""

from __future__ import annotations

import re

_VARIABLE = (
    (re.compile(r"0x[0-9a-f]+/0x[0-9a-f]+"), ""),
    (re.compile(r"\b(?:0x)?[0-9a-f]{8,16}\b"), "ADDR"),
    (re.compile(r"\bCPU: ?\d+ (?:UID: ?\d+ )?PID: ?\d+"), "CPU"),
    (re.compile(r"\bCPU#\d+"), "CPU"),
    (re.compile(r"\[#\d+\]"), ""),
    (re.compile(r"\bkworker/\S+"), "kworker"),
    (re.compile(r"(\[[^\]\s:]+):\d+\]"), r"\1]"),
    (re.compile(r"\bCPU\d+|\bcpu \d+"), "CPU"),
    (re.compile(r"\bprocess \d+"), "process"),
    (re.compile(r" total-vm:.*"), ""),
    (re.compile(r"^kmemleak: \d+"), "kmemleak: N"),
    (re.compile(r"\bpfn:[0-9a-f]+"), "pfn:ADDR"),
    (re.compile(r"(\bUsage count =) -?\d+"), r"\1 N"),
    (re.compile(r"(\bstalls? on (?:CPUs/)?tasks:).*"), r"\1"),
    (re.compile(r"(\bstall on CPU)s?\b.*"), r"\1"),
    (re.compile(r"(\bworkqueue lockup - pool) .*(?= stuck)"), r"\1"),
    (re.compile(r"\b(val|Pid):-?\d+"), r"\1:N"),
    (re.compile(r"\bIP \d+:(\S+) error \w+ cr2 \S+"), r"IP \1"),
    (re.compile(r"/\d+\b"), "/N"),
    (re.compile(r":\d+(?=[!\s]|$)"), ""),
    (re.compile(r"\+(?=[\s,]|$)"), ""),
    (re.compile(r"\bfor (?:more than )?\d+ ?s(?:econds)?"), "for N seconds"),
    (re.compile(r"\s+"), " "),
)
_WHERE = re.compile(
    r"(?:(?:RIP|EIP): (?:[0-9a-f]+:)?|^(?:\s*(?:pc|epc) : )|PC is at )(?:\[<[0-9a-f]+>\]\s*){0,2}"
    r"(?P<symbol>[A-Za-z_][\w.$]*)\+0x"
)


def title_of(first: str) -> str:
    """Return a first line without what differs from run to run."""
    title = first
    for pattern, replacement in _VARIABLE:
        title = pattern.sub(replacement, title)
    return title.strip()[:300]


def function_in(body: str) -> str | None:
    """Return the kernel's function in which a register line says that it was."""
    match = _WHERE.search(body)
    return match["symbol"] if match is not None else None
