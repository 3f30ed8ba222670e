# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel prints, read: splats, KTAP results, the orchestrator's messages.  Pure.

A *splat* is what the kernel prints when it finds something wrong with itself.  Which texts start
one, and what they look like, is taken from the kernel sources named at each pattern (Linux 7.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_STAMP = r"(?:<\d+>)?(?:\[\s*\d+\.\d+\])?(?:\[\s*[TC]\d+\])?\s?"
"""printk prefixes: level, time, caller (``kernel/printk/printk.c``)."""

_PREFIX = re.compile(rf"^{_STAMP}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Splat:
    """One complaint of the kernel about itself.

    :param kind: which detector spoke: ``oops``, ``warning``, ``kasan``, ``lockdep``, ...
    :param title: its first line without times, addresses, process ids and the like, so that the
        same splat has the same title in every run.
    :param text: all of it, as printed.
    :param line: number of its first line in the text that was searched, from 0.
    """

    kind: str
    title: str
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIssue:
    """A splat of the base kernel that nobody can mend here; shown, never swallowed.

    :param title: regular expression for a splat's title.
    :param reason: why it is not the fault of what is tested.
    :param kernels: regular expression for the releases that have it.
    """

    title: str
    reason: str
    kernels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVerdict:
    """Splats sorted by whether somebody expected them."""

    unexpected: tuple[Splat, ...]
    expected: tuple[Splat, ...]
    known: tuple[Splat, ...]


_STARTS: tuple[tuple[str, str], ...] = (
    # kernel/panic.c: panic()
    ("panic", r"Kernel panic - not syncing: .*"),
    # mm/kasan/report.c: print_report()
    ("kasan", r"BUG: KASAN: .*"),
    # kernel/kcsan/report.c
    ("kcsan", r"BUG: KCSAN: .*"),
    # mm/kfence/report.c
    ("kfence", r"BUG: KFENCE: .*"),
    # lib/ubsan.c: ubsan_prologue()
    ("ubsan", r"UBSAN: .* in .*"),
    # kernel/sched/core.c: __might_resched(), __schedule_bug()
    ("atomic-sleep", r"BUG: sleeping function called from invalid context .*"),
    ("atomic-sleep", r"BUG: scheduling while atomic: .*"),
    # arch/x86/mm/fault.c: show_fault_oops()
    ("page-fault", r"BUG: (?:kernel NULL pointer dereference|unable to handle page fault).*"),
    # mm/slub.c: slab_bug()
    ("slab", r"BUG [\w-]+ \(.*\): .*"),
    # kernel/watchdog.c
    ("soft-lockup", r"watchdog: BUG: soft lockup .*"),
    ("hard-lockup", r"watchdog: .*(?:Watchdog detected hard LOCKUP|hard LOCKUP).*"),
    # kernel/rcu/tree_stall.h
    ("rcu-stall", r"rcu: INFO: rcu_\w+ (?:self-)?detected (?:expedited )?stalls?.*"),
    # kernel/hung_task.c
    ("hung-task", r"INFO: task .* blocked for more than \d+ seconds\."),
    # lib/bug.c and arch die(): "kernel BUG at file:line!" comes before "Oops: invalid opcode"
    ("bug", r"kernel BUG at .*!"),
    # kernel/locking/lockdep.c: every report is boxed in '=' or '-' and begins with one of these
    (
        "lockdep",
        (
            r"WARNING: (?:possible circular locking dependency|possible recursive locking"
            r"|possible irq lock inversion|inconsistent lock state|bad unlock balance"
            r"|held lock freed|lock held when returning to user space|suspicious RCU usage"
            r"|Nested lock was not taken|bad contention|(?:\S+-safe -> \S+-unsafe lock order)"
            r"|invalid wait context|at most \d+ .*locks).*"
        ),
    ),
    ("lockdep", r"BUG: (?:MAX_LOCK|.* held while leaving).*|\[ BUG: .* \]"),
    ("lockdep", r"INFO: (?:trying to register non-static key|possible).*"),
    # lib/list_debug.c: the text precedes the BUG or WARN it leads to
    ("list-corruption", r"list_(?:add|del) corruption.*"),
    # kernel/panic.c: __warn()
    ("warning", r"WARNING: .*"),
    # arch/x86/kernel/dumpstack.c: __die_header()
    ("oops", r"(?:Oops|general protection fault|divide error|stack segment)[:,].*"),
    ("oops", r"Internal error: Oops.*"),
    ("bug", r"BUG: .*"),
    # mm/kmemleak.c
    ("kmemleak", r"kmemleak: \d+ new suspected memory leaks.*"),
    # mm/oom_kill.c
    ("oom", r"Out of memory: Killed process .*"),
)
_START = re.compile(
    rf"^{_STAMP}(?:" + "|".join(f"(?P<s{i}>{text})" for i, (_, text) in enumerate(_STARTS)) + ")$"
)

_NOT_A_SPLAT = re.compile(
    r"WARNING: (?:Spectre|Kernel not compiled with retpoline|stack_depot"
    r"|(?!\S+:\d+ at ).*mitigation|CPU model|.*is deprecated|workqueue cpumask)"
    r"|BUG: KASAN: .*multi_shot",
    re.I,
)
"""Boot-time advice that only looks like one."""

_END = re.compile(
    r"---\[ end (?:trace|Kernel panic).*\]---|^={20,}$|Kernel Offset:|^\s*$|Rebooting in \d+ sec"
)
_FENCE = re.compile(r"^[=\-*]{20,}$")
_MEMBER = re.compile(
    r"^(?:CPU: |Hardware name: |RIP: |RSP: |Code: |Call Trace:|RAX: |RDX: |RBP: |R\d\d: |FS: |CS: "
    r"|CR\d: |DR\d: |PKRU: |Modules linked in: |Tainted: |Workqueue: |Stopper: "
    r"| ?</?(?:TASK|IRQ|NMI)>"
    r"|\s+\??\s*\S+\+0x[0-9a-f]+/0x[0-9a-f]+|irq event stamp|hardirqs last|softirqs last"
    r"|(?:Read|Write) of size|Allocated by task|Freed by task|The buggy address|which belongs"
    r"|Memory state|page:|flags:|raw:|\s+ffff|[> ]ffff|\d+ locks? held|#\d+:|stack backtrace"
    r"|other info|-> #\d|the existing dependency|but task|which lock|Chain exists|Possible unsafe"
    r"|\*\*\* DEADLOCK|\s*lock\(|\s+CPU\d|\s*----|page dumped|The mapping|Comm: |---\[|\.\.\.|---)"
)
_MOST_LINES = 150

_VARIABLE = (
    (re.compile(r"0x[0-9a-f]+/0x[0-9a-f]+"), ""),
    (re.compile(r"\b(?:0x)?[0-9a-f]{8,16}\b"), "ADDR"),
    (re.compile(r"\bCPU: ?\d+ PID: \d+"), "CPU"),
    (re.compile(r"\bCPU#\d+"), "CPU"),
    (re.compile(r"\[#\d+\]"), ""),
    (re.compile(r"\bkworker/\S+"), "kworker"),
    (re.compile(r"(\[[^\]\s:]+):\d+\]"), r"\1]"),
    (re.compile(r"\bCPU\d+|\bcpu \d+"), "CPU"),
    (re.compile(r"\bprocess \d+"), "process"),
    (re.compile(r" total-vm:.*"), ""),
    (re.compile(r"^kmemleak: \d+"), "kmemleak: N"),
    (re.compile(r"\bpfn:[0-9a-f]+"), "pfn:ADDR"),
    (re.compile(r"/\d+\b"), "/N"),
    (re.compile(r":\d+(?=[!\s]|$)"), ""),
    (re.compile(r"\+(?=\s|$)"), ""),
    (re.compile(r"\bfor (?:more than )?\d+ ?s(?:econds)?"), "for N seconds"),
    (re.compile(r"\s+"), " "),
)


def strip_prefix(line: str) -> str:
    """Return a line of kernel log without level, time and caller."""
    return _PREFIX.sub("", line, count=1)


def find_splats(text: str) -> tuple[Splat, ...]:
    """Find every splat in console or ``dmesg`` text, each once, in order.

    A complaint inside another one's extent (the oops after ``kernel BUG at``, the panic that an
    oops ends in) belongs to the first.
    """
    lines = text.splitlines()
    found: list[Splat] = []
    at = 0
    while at < len(lines):
        kind = _kind(lines[at])
        if kind is None:
            at += 1
            continue
        end = _extent(lines, at)
        text = "\n".join(lines[at:end])
        title = _title(strip_prefix(lines[at]))
        where = re.search(r"RIP: [0-9a-f]+:(\w+)\+0x", text) if kind == "page-fault" else None
        if where is not None:
            title += f" in {where.group(1)}"
        found.append(Splat(kind=kind, title=title, text=text, line=at))
        at = end
    return tuple(found)


def _kind(line: str) -> str | None:
    match = _START.match(line.rstrip())
    if match is None or _NOT_A_SPLAT.search(line):
        return None
    assert match.lastgroup is not None  # noqa: S101 - every alternative is a group
    return _STARTS[int(match.lastgroup[1:])][0]


def _extent(lines: Sequence[str], start: int) -> int:
    """Return the line after the splat that begins at *start*."""
    last = start
    traced = False
    for at in range(start + 1, min(len(lines), start + _MOST_LINES)):
        text = strip_prefix(lines[at].rstrip())
        if "end trace" in text:
            return _panic_after(lines, at) or at + 1
        if _FENCE.match(text) and traced:
            return at + 1
        if _MEMBER.match(text) or _FENCE.match(text) or _kind(lines[at]) is not None:
            traced = traced or "Call Trace" in text or "+0x" in text
            last = at
        elif at - last > 6:
            break
    return last + 1


def _panic_after(lines: Sequence[str], end: int) -> int | None:
    """Return the line after the panic that follows an oops and its registers; ``None`` if none."""
    for at in range(end + 1, len(lines)):
        text = strip_prefix(lines[at].rstrip())
        if text.startswith("Kernel panic - not syncing: Fatal exception"):
            return at + 1
        if not re.match(r"(?:RIP|RSP|Code|RAX|RDX|RBP|R\d\d|FS|CS|CR\d|DR\d|PKRU): ", text):
            return None
    return None


def _title(line: str) -> str:
    for pattern, replacement in _VARIABLE:
        line = pattern.sub(replacement, line)
    return line.strip()


def classify(
    splats: Iterable[Splat],
    known: Iterable[KnownIssue],
    expected: Iterable[str],
    *,
    release: str | None = None,
) -> LogVerdict:
    """Sort splats into unexpected, expected and known.

    :param expected: regular expressions for titles that a test counts on.
    :param release: the kernel that printed them; ``None`` lets every known issue apply.
    """
    issues = [issue for issue in known if release is None or re.search(issue.kernels, release)]
    wanted = [re.compile(text) for text in expected]
    groups: dict[str, list[Splat]] = {"unexpected": [], "expected": [], "known": []}
    for splat in splats:
        if any(pattern.search(splat.title) for pattern in wanted):
            groups["expected"].append(splat)
        elif any(re.search(issue.title, splat.title) for issue in issues):
            groups["known"].append(splat)
        else:
            groups["unexpected"].append(splat)
    return LogVerdict(**{name: tuple(items) for name, items in groups.items()})


# -- KTAP ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class KtapResult:
    """One result line of KTAP output (``Documentation/dev-tools/ktap.rst``).

    :param outcome: ``passed``, ``failed``, ``skipped`` or ``error``.
    :param detail: the diagnostic lines before it, or what is wrong with the output.
    """

    name: str
    outcome: str
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether this is no failure: passed or skipped."""
        return self.outcome in ("passed", "skipped")


_RESULT = re.compile(
    r"^\s*(?P<not>not )?ok\s+\d+(?:\s+-)?\s*(?P<name>[^#]*?)\s*"
    r"(?:#\s*(?P<directive>\S+)\s*(?P<rest>.*))?$"
)
_PLAN = re.compile(r"^1\.\.(\d+)")


def parse_ktap(text: str) -> tuple[KtapResult, ...]:
    """Read KTAP; a missing plan, a wrong count or a bail-out is a result ``error`` of its own.

    Nested results are named ``parent``-less: their indentation is ignored, and the plan that
    counts is the outermost.
    """
    results: list[KtapResult] = []
    notes: list[str] = []
    planned: int | None = None
    top = 0
    for line in text.splitlines():
        if (plan := _PLAN.match(line)) is not None:
            planned = int(plan.group(1))
        elif line.startswith("Bail out!"):
            results.append(KtapResult(name="bail-out", outcome="error", detail=line))
        elif (match := _RESULT.match(line)) is not None:
            top += not line[0].isspace()
            results.append(_ktap_result(match, notes))
            notes = []
        elif line.lstrip().startswith("#"):
            notes.append(line.strip())
    if planned is None:
        results.append(KtapResult(name="plan", outcome="error", detail="there is no plan line"))
    elif planned != top:
        detail = f"{planned} planned, {top} reported"
        results.append(KtapResult(name="plan", outcome="error", detail=detail))
    return tuple(results)


def _ktap_result(match: re.Match[str], notes: list[str]) -> KtapResult:
    directive = (match.group("directive") or "").upper()
    if directive == "SKIP":
        outcome = "skipped"
    elif match.group("not") is None or directive == "TODO":
        outcome = "passed"
    else:
        outcome = "failed"
    detail = "\n".join([*notes, match.group("rest") or ""]).strip()
    return KtapResult(name=match.group("name"), outcome=outcome, detail=detail)
