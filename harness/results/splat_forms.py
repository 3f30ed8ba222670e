# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel's reports look like: how each kind begins, what belongs to it, what ends it.

The texts are those of the sources named at each of them (Linux 7.0, and what older kernels said in
their place).  Kinds are named as syzkaller names its types and titles, in lower case, where it has
a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one kind of report begins.

    :param text: regular expression for the line, from its first word on.
    :param anywhere: whether it is one behind other text as well: a line that was not finished.
    :param rank: reports of several steps count them: a line goes on with a report whose last step
        is lower.  0 is a report that stands alone.
    :param leads: whether a line of a higher rank may go on with it.
    :param lines: most lines that it has; ``None`` for any number.
    """

    kind: str
    text: str
    anywhere: bool = True
    rank: int = 0
    leads: bool = False
    lines: int | None = None


_LOCKDEP = (
    r"possible circular locking dependency|possible recursive locking|possible irq lock inversion"
    r"|inconsistent lock state|bad unlock balance|bad contention|held lock freed"
    r"|lock held (?:when|at)"
    r"|suspicious (?:RCU|rcu_\w+\(\)) usage|Nested lock was not taken|chain_?key collision"
    r"|\S+-safe -> \S+-unsafe lock order|[Ii]nvalid wait context|at most \d+ .*locks"
    r"|\S.{0,40} still has locks held|possible deadlock|MAX_LOCK|MAX_STACK_TRACE_ENTRIES"
    r"|looking up invalid subclass|key \S+ has not been registered|.{0,60} held while leaving"
)
_TRAPS = (
    r"general protection fault|divide error|invalid opcode|stack segment|double fault|int3|bounds"
    r"|invalid TSS|segment not present|alignment check|coprocessor segment overrun"
    r"|control protection|Bad pagetable|stack guard page|Split lock detected|bad stack"
    r"|unexpected #NM exception|kernel stack overflow|spurious interrupt|device not available"
)

FORMS: tuple[Form, ...] = (
    # kernel/panic.c: vpanic(); its last line, "end Kernel panic", is none
    Form(kind="panic", text=r"(?<!end )Kernel panic - not syncing.*"),
    # arch/x86/mm/extable.c: early_fixup_exception()
    Form(kind="panic", text=r"PANIC: early exception .*"),
    # mm/kasan/report.c, mm/kmsan/report.c, kernel/kcsan/report.c, mm/kfence/report.c
    Form(kind="kasan", text=r"BUG: KASAN: .*"),
    Form(kind="kmsan", text=r"BUG: KMSAN: .*"),
    Form(kind="kcsan", text=r"BUG: KCSAN: .*"),
    Form(kind="kfence", text=r"BUG: KFENCE: .*"),
    # lib/ubsan.c: ubsan_prologue()
    Form(kind="ubsan", text=r"UBSAN: (?!.*\[#\d).* in .*"),
    # kernel/sched/core.c: __might_resched(), __schedule_bug(), __cant_sleep(), __cant_migrate()
    Form(kind="atomic-sleep", text=r"BUG: sleeping function called from invalid context.*"),
    Form(kind="atomic-sleep", text=r"BUG: scheduling (?:while atomic|in a non-blocking section).*"),
    Form(kind="atomic-sleep", text=r"BUG: assuming (?:atomic|non migratable) context.*"),
    # arch/x86/mm/fault.c: show_fault_oops(); powerpc; arm, arm64, riscv: die_kernel_fault()
    Form(
        kind="page-fault",
        text=r"BUG: (?:[Kk]ernel NULL pointer dereference|[Uu]nable to handle (?:kernel|page)).*",
        rank=1,
        leads=True,
    ),
    Form(kind="page-fault", text=r"Unable to handle kernel .*", rank=1, leads=True),
    # arch/x86/kernel/traps.c: exc_double_fault(), handle_stack_overflow()
    Form(kind="oops", text=r"(?:traps: )?PANIC: double fault.*", rank=1, leads=True),
    Form(
        kind="oops", text=r"(?:traps: )?BUG: .{0,30}stack guard page was hit.*", rank=1, leads=True
    ),
    # arch/arm64/kernel/traps.c: arm64_serror_panic(), bad_el0_sync(); entry-common.c;
    # arch/riscv/kernel/traps.c: handle_bad_stack()
    Form(kind="oops", text=r"SError Interrupt on CPU.*", rank=1, leads=True),
    Form(kind="oops", text=r"Bad mode in .* handler detected.*", rank=1, leads=True),
    Form(kind="oops", text=r"Unhandled \S+ .* exception on CPU.*", rank=1, leads=True),
    Form(kind="oops", text=r"Insufficient stack space to handle exception.*", rank=1, leads=True),
    Form(
        kind="oops",
        text=r"(?:Unhandled (?:fault: .* at|prefetch abort:)|Alignment trap: not handling) .*",
        rank=1,
        leads=True,
    ),
    # mm/slub.c: slab_bug()
    Form(kind="slab", text=r"BUG (?![:\s]).{1,80}\((?:Not tainted|Tainted.{0,60})\): .*"),
    Form(kind="slab", text=r"BUG [\w-]+: .*", anywhere=False),
    # kernel/watchdog.c, kernel/workqueue.c
    Form(kind="soft-lockup", text=r"(?:(?:NMI )?watchdog: )?BUG: soft lockup.*"),
    Form(
        kind="hard-lockup",
        text=r"(?:NMI )?watchdog: .*hard LOCKUP.*|Watchdog detected hard LOCKUP.*",
    ),
    Form(kind="workqueue-lockup", text=r"BUG: workqueue lockup.*"),
    # kernel/rcu/tree_stall.h, tree_exp.h, tasks.h
    Form(
        kind="rcu-stall",
        text=r"(?:rcu: )?INFO: s?rcu\w* (?:self-)?detected (?:expedited )?stalls?\b.*",
    ),
    # kernel/hung_task.c
    Form(
        kind="hung-task",
        text=r"INFO: task .* (?:blocked|can't die)(?: in I/O wait)? for more than \d+ seconds.*",
    ),
    # kernel/locking/lockdep.c: most of its reports are boxed in '=' or '-'
    Form(kind="lockdep", text=rf"(?:\[ )?(?:WARNING|BUG|INFO): (?:{_LOCKDEP}).*"),
    Form(kind="lockdep", text=r"\[ (?:BUG|INFO): .* \]", anywhere=False),
    Form(kind="lockdep", text=r"INFO: trying to register non-static key.*"),
    # kernel/locking/spinlock_debug.c, lib/smp_processor_id.c
    Form(kind="lockdep", text=r"BUG: (?:spinlock|rwlock|mutex|rt_mutex) .*"),
    Form(kind="lockdep", text=r"BUG: using .*\(\) in preemptible.*"),
    # lib/list_debug.c: the text precedes the BUG or WARN it leads to
    Form(
        kind="list-corruption",
        text=r"list_(?:add|del)\w*(?: corruption| double add).*",
        rank=1,
        leads=True,
    ),
    # kernel/cfi.c, arch/x86/kernel/cet.c
    Form(kind="cfi", text=r"(?:CFI failure at |Missing ENDBR: ).*", rank=1, leads=True),
    # mm/usercopy.c, rust/kernel/lib.rs, fs/super.c, fs/open.c: a BUG or WARN follows
    Form(
        kind="bug",
        text=r"usercopy: Kernel memory (?:exposure|overwrite) attempt .*",
        rank=1,
        leads=True,
    ),
    Form(kind="bug", text=r"rust_kernel: panicked at .*", rank=1, leads=True),
    Form(
        kind="bug",
        text=r"VFS: (?:Busy inodes after unmount|Close: file count is (?:0|zero)).*",
        anywhere=False,
        rank=1,
        leads=True,
    ),
    # kernel/irq/spurious.c
    Form(kind="bug", text=r"irq \d+: nobody cared.*", anywhere=False),
    # lib/bug.c: comes before "Oops: invalid opcode", "Internal error: Oops - BUG", "Kernel BUG"
    Form(kind="bug", text=r"kernel BUG at .*", rank=2, leads=True),
    # kernel/panic.c: __warn()
    Form(kind="warning", text=r"WARNING: (?:CPU: ?\d+ PID: ?\d+ at |\S+:\d+ at ).*", rank=2),
    Form(kind="warning", text=r"WARNING: at \S.*", anywhere=False, rank=2),
    # arch/x86/kernel/dumpstack.c: __die_header(); arm, arm64, riscv: die()
    Form(kind="oops", text=r"Oops(?::| -| \[#).*", anywhere=False, rank=3),
    Form(kind="oops", text=r"Internal error: .*", anywhere=False, rank=3),
    Form(kind="bug", text=r"Kernel BUG (?:at .*)?\[#\d+\].*", rank=3),
    Form(kind="oops", text=rf"(?:{_TRAPS})(?:[:,]| \[#).*", anywhere=False, rank=3),
    Form(kind="oops", text=rf"(?:Oops|Internal error|{_TRAPS})[:,]? .*\[#\d+\].*", rank=3),
    # mm/kmemleak.c
    Form(kind="kmemleak", text=r"kmemleak: \d+ new suspected memory leaks.*", lines=1),
    Form(kind="kmemleak", text=r"BUG: memory leak.*"),
    # mm/oom_kill.c: of the whole machine, not of a control group
    Form(
        kind="oom",
        text=r"(?<!cgroup )(?<!cgroup o)Out of memory(?: \([^)]*\))?: Kill(?:ed)? process .*",
        lines=1,
    ),
    # net/core/dev.c: netdev_wait_allrefs_any()
    Form(kind="dos", text=r"unregister_netdevice: waiting for .* to become free.*"),
    Form(kind="bug", text=r"BUG:(?: (?!KASAN: .*multi_shot).*|$)", anywhere=False),
)

ANYWHERE = (
    *("BUG", "panic", "PANIC", "WARNING: ", "INFO: ", "UBSAN: ", "Oops", "[#", "corruption"),
    *("Unable to handle", "Unhandled ", "Insufficient stack", "SError ", "Bad mode", "LOCKUP"),
    *("Alignment trap", "double add", "CFI failure", "Missing ENDBR", "usercopy: ", "rust_kernel"),
    *("kmemleak: ", "Out of memory", "unregister_netdevice: "),
)
"""Texts of which one is in every line that is looked for behind others: they are found faster."""

NOTE = re.compile(
    r"WARNING: (?:kernel stack (?:regs|frame pointer) |stack recursion|stack going in the wrong"
    r"|unrecognized unwind|can't (?:dereference|access) registers)"
)
"""What the unwinder says inside another report (``arch/x86/kernel/unwind_*.c``)."""

UNSURE = re.compile(r"WARNING:(?: .*|$)")
"""A warning with a trace below it, or advice: fbcon, mount, Spectre and many others give some."""

EVIDENCE: tuple[tuple[str, str, str], ...] = (
    ("panic", "Kernel panic -", ""),
    ("panic", "panic - not s", ""),
    ("panic", "not syncing: ", ""),
    ("kasan", "KASAN: ", r"(?!null-ptr-deref in range|probably|maybe)[\w-]+ in \S+\+0x"),
    ("kasan", "Memory state around the buggy", ""),
    ("kasan", "The buggy address belongs", ""),
    ("kasan", " of size ", r"^(?:Read|Write) of size \d+ at addr"),
    ("kasan", "Pointer tag: [", ""),
    ("kcsan", " bytes by ", r"^(?:read|write)(?: \(marked\))? to 0x[0-9a-f]+ of \d+ bytes by "),
    ("kmsan", "Uninit was ", r"^Uninit was (?:created|stored to memory) at:"),
    ("kfence", "kfence-#", r"^kfence-#\d+: 0x"),
    ("ubsan", "is out of range for type", ""),
    ("ubsan", "shift exponent ", r"is (?:too large|negative)"),
    ("ubsan", " cannot be represented in type", ""),
    ("atomic-sleep", "in_atomic(): ", ""),
    ("atomic-sleep", "preempt_count: ", r"^preempt_count: \w+, expected: "),
    ("atomic-sleep", "function called from invalid context", ""),
    ("atomic-sleep", "scheduling while atomic: ", ""),
    ("lockdep", "other info that might help us debug", ""),
    ("lockdep", "the existing dependency chain", ""),
    ("lockdep", "*** DEADLOCK", ""),
    ("lockdep", "unsafe locking scenario", ""),
    ("lockdep", "is trying to ", r"is trying to (?:acquire|release|lock)"),
    ("lockdep", "locking dependency detected", ""),
    ("lockdep", "suspicious rcu_", ""),
    ("lockdep", "leaving the kernel with locks still held", ""),
    ("lockdep", "lock order detected", ""),
    ("page-fault", "#PF: ", ""),
    ("page-fault", "Mem abort info:", ""),
    ("page-fault", "handle page fault for address", ""),
    ("page-fault", "at virtual address", r"handle kernel .* at virtual address"),
    ("soft-lockup", "soft lockup - CPU", ""),
    ("soft-lockup", "stuck for ", r"CPU#\d+ stuck for \d+s!"),
    ("hard-lockup", "detected hard LOCKUP", ""),
    ("hung-task", "hung_task_timeout_secs", "disables this"),
    ("hung-task", "blocked for more than ", r"than \d+ seconds"),
    ("rcu-stall", "(detected by ", r"^rcu: .*\(detected by \d+, t="),
    ("rcu-stall", " jiffies", r"^rcu: .*(?:\(t=\d+ jiffies|kthread starved for)"),
    ("rcu-stall", " stall", r"detected (?:expedited )?stalls? on |self-detected stall"),
    ("list-corruption", "corruption", r"corruption[.,] (?:prev|next)->|, \S+->(?:prev|next) is "),
    ("bug", "BUG at ", r"BUG at \S+:\d+!"),
    ("warning", ", CPU#", r":\d+ at \S+\+0x[0-9a-f]+/0x[0-9a-f]+, CPU#\d+"),
    ("oops", "[#", r"\[#\d+\]\s+(?:SMP|PREEMPT|KASAN)|: [0-9a-f]{4,16} \[#\d+\]|^\[#\d+\]"),
    ("kmemleak", "new suspected memory leaks", ""),
    ("oom", "Killed process ", r"(?<!cgroup out of memory: )Killed process \d+ \(.*total-vm:"),
    ("dos", "to become free. Usage count", ""),
    ("unknown", "---[ end trace", ""),
)
"""What shows a report whose first line was lost or damaged, and of which kind it was: a text, and a
regular expression that is looked for where the text is.  Texts are found faster."""

WHOLE = frozenset(
    ("panic", "soft-lockup", "hard-lockup", "hung-task", "bug", "kmemleak", "oom", "dos", "warning")
)
"""Kinds whose evidence is their first line, damaged: it is one at the very beginning as well."""

CRASHES = frozenset(("oops", "page-fault", "bug", "list-corruption", "cfi", "unknown"))
"""Kinds that end a task, and may end the kernel."""

ENDED = CRASHES | {"warning", "ubsan"}
"""Kinds whose report has a line that says that it ends."""

HANGS = frozenset(("soft-lockup", "hard-lockup", "workqueue-lockup", "rcu-stall", "hung-task"))
"""Kinds that say that something got no further: on a starved host that says nothing."""

CASCADES: tuple[tuple[str, frozenset[str] | None], ...] = (
    (r"(?:.*: )?Fatal exception|Fatal |Oops|Machine halted|.*stack guard hit", CRASHES),
    (r".*panic_on_warn set", None),
    (r"kasan|KASAN|UBSAN|ubsan|KFENCE|KMSAN|kmsan", None),
    (r".*(?:softlockup|soft lockup|hung_task|[Hh]ard LOCKUP|RCU Stall|hung tasks)", HANGS),
    (r".*[Kk]ernel stack overflow|Asynchronous SError|Unhandled exception|bad mode", CRASHES),
    # An oops of init ends it by SIGSEGV.
    (r"Attempted to kill (?:init! exitcode=0x0000000b|the idle)|Aiee|.*[Uu]nrecoverable", CRASHES),
    (r"Out of memory|System is deadlocked on memory", frozenset(("oom",))),
)
"""What a panic says when it is the end of another report, and of which kinds (``None``: of any)."""

BOXED = frozenset(("kasan", "kmsan", "kcsan", "kfence", "ubsan"))
"""Kinds whose report a line of '=' ends."""

_ANCHORED = re.compile("|".join(f"(?P<f{n}>{form.text})" for n, form in enumerate(FORMS)))
_ANYWHERE = re.compile(
    r"(?<![\w-])(?:"
    + "|".join(f"(?P<f{n}>{form.text})" for n, form in enumerate(FORMS) if form.anywhere)
    + ")"
)
_EVIDENCE = tuple((kind, text, re.compile(more)) for kind, text, more in EVIDENCE)
_CASCADES = tuple(
    (re.compile(rf"Kernel panic - not syncing: (?:{text})"), kinds) for text, kinds in CASCADES
)


def form_of(body: str, *, whole: bool) -> tuple[Form, str] | None:
    """Return how the report begins that *body* begins, and its first line; ``None`` if none.

    :param body: a line without time and caller.
    :param whole: whether it must be one from the first character on.
    """
    match = _ANCHORED.match(body)
    if match is None and not whole and any(text in body for text in ANYWHERE):
        match = _ANYWHERE.search(body)
    if match is None or match.lastgroup is None:
        return None
    return FORMS[int(match.lastgroup[1:])], match.group()


def evidence_of(body: str) -> str | None:
    """Return which kind of report *body* shows although it does not begin one."""
    return next(
        (kind for kind, text, more in _EVIDENCE if text in body and more.search(body)), None
    )


def cascade_of(first: str) -> tuple[bool, frozenset[str] | None]:
    """Return whether the panic *first* is the end of a report, and of which kinds."""
    for pattern, kinds in _CASCADES:
        if pattern.match(first):
            return True, kinds
    return False, None
