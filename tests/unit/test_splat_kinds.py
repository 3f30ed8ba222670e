# SPDX-License-Identifier: GPL-2.0-only
"""What kinds of reports there are, and where one ends and the next begins.

The texts are as the sources of Linux 7.0, or of the older kernel that is named, print them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.results.kernel_log import Splat, classify, find_splats

RECORDED = Path(__file__).resolve().parents[1] / "data" / "console"


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text()


def told(found: tuple[Splat, ...]) -> list[tuple[str, str]]:
    return [(splat.kind, splat.title) for splat in found]


def stamped(*lines: str, caller: str = "") -> str:
    return "".join(f"[   40.{n:06}]{caller} {line}\n" for n, line in enumerate(lines))


TRACE = (
    "CPU: 0 UID: 0 PID: 61 Comm: insmod Not tainted 7.0.13 #1",
    "Hardware name: QEMU Standard PC (Q35 + ICH9, 2009)",
    "Call Trace:",
    " <TASK>",
    " dump_stack_lvl+0x6f/0xa0",
    " luo_test_init+0x20/0x40 [luo_test]",
    " do_one_initcall+0xe7/0x460",
    " </TASK>",
)
RCU = (
    "=============================",
    "WARNING: suspicious RCU usage",
    "7.0.13 #1 Not tainted",
    "-----------------------------",
    "kernel/liveupdate/luo_file.c:123 suspicious rcu_dereference_check() usage!",
    "",
    "other info that might help us debug this:",
    "",
    "rcu_scheduler_active = 2, debug_locks = 1",
    "no locks held by insmod/61.",
    "",
    "stack backtrace:",
    *TRACE,
)
ATOMIC = (
    "BUG: scheduling while atomic: insmod/61/0x00000002",
    "Modules linked in: luo_test(O)",
    *TRACE,
)


def hung(task: int) -> tuple[str, ...]:
    return (
        f"INFO: task rmmod:{task} blocked for more than 120 seconds.",
        "      Not tainted 7.0.13 #1",
        '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
        f"task:rmmod           state:D stack:28088 pid:{task} tgid:{task} ppid:1 flags:0x80000",
        "Call Trace:",
        " <TASK>",
        " __schedule+0x12/0x34",
        " </TASK>",
    )


# -- one after the other ---------------------------------------------------------------------


def test_report_right_behind_another_is_one_of_its_own() -> None:
    found = find_splats(stamped(*RCU, *ATOMIC))
    assert [splat.kind for splat in found] == ["lockdep", "atomic-sleep"]
    assert "scheduling while atomic" not in found[0].text
    assert found[1].text.endswith(" </TASK>")


def test_expected_title_excuses_its_own_report_only() -> None:
    verdict = classify(find_splats(stamped(*RCU, *ATOMIC)), (), ("suspicious RCU usage",))
    assert [splat.kind for splat in verdict.unexpected] == ["atomic-sleep"]


@pytest.mark.parametrize(
    "line",
    [
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "Out of memory: Killed process 61 (sh) total-vm:1234kB, anon-rss:12kB, UID:0",
        "BUG: Bad rss-counter state mm:00000000f8b1d7cd type:MM_FILEPAGES val:5 Comm:sh Pid:61",
        "unregister_netdevice: waiting for lo to become free. Usage count = 2",
    ],
)
def test_report_of_one_line_does_not_swallow_the_next(line: str) -> None:
    text = stamped(line, "luo_test: loaded: 1 handlers") + recorded("kasan")
    found = find_splats(text)
    assert [splat.kind for splat in found][1:] == ["kasan"]
    assert found[0].text.splitlines() == [text.splitlines()[0]]


def test_two_hung_tasks_in_a_row_are_two() -> None:
    found = find_splats(stamped(*hung(61), *hung(62)))
    assert [splat.kind for splat in found] == ["hung-task"] * 2
    assert "pid:62" in found[1].text


def test_who_holds_what_a_task_waits_for_is_part_of_its_report() -> None:
    text = stamped(
        *hung(61),
        "INFO: task rmmod:61 is blocked on a mutex likely owned by task insmod:60.",
        "task:insmod          state:S stack:28088 pid:60 tgid:60 ppid:1 flags:0x80000",
        "Call Trace:",
        " luo_hold+0x1/0x2 [luo_test]",
    )
    (splat,) = find_splats(text)
    assert "luo_hold" in splat.text


def test_reports_of_two_callers_at_the_same_time_keep_their_own_lines() -> None:
    one = stamped(*RCU, caller="[   T61]").splitlines()
    other = stamped(*ATOMIC, caller="[   T62]").splitlines()
    mixed = [line for pair in zip(one, other, strict=False) for line in pair] + one[len(other) :]
    found = find_splats("\n".join(mixed))
    assert sorted(splat.kind for splat in found) == ["atomic-sleep", "lockdep"]
    for splat in found:
        caller = "T61" if splat.kind == "lockdep" else "T62"
        assert set(re.findall(r"T6\d", splat.text)) == {caller}, splat.kind


# -- where in a line -------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["loading luo ... ", "~ # ", "harness-agent: ok\x1b[0m", "\0\0"])
@pytest.mark.parametrize("name", ["atomic", "bug", "kasan", "lockdep", "panic", "warn"])
def test_report_that_begins_in_the_middle_of_a_line(before: str, name: str) -> None:
    whole = find_splats(recorded(name))
    lines = recorded(name).splitlines()
    lines[whole[0].line] = before + lines[whole[0].line]
    assert told(find_splats("\n".join(lines))) == told(whole)


@pytest.mark.parametrize("name", ["atomic", "bug", "kasan", "panic", "warn"])
def test_report_in_the_middle_of_a_line_without_times(name: str) -> None:
    whole = find_splats(recorded(name))
    lines = [re.sub(r"^\[ *\d+\.\d+\] ", "", line) for line in recorded(name).splitlines()]
    lines[whole[0].line] = "loading luo ... " + lines[whole[0].line]
    assert told(find_splats("\n".join(lines))) == told(whole)


@pytest.mark.parametrize(
    "before",
    [
        "    48.125  [   40.000000] ",
        "  template  [   40.000000] ",
        "<4>[   40.000000][   T61] ",
        "[   40.000000][    C0] ",
        "[  +0.010955] ",
        "[Fri Nov 27 05:10:54 2026] ",
        "kern  :warn  : [   40.000000] ",
        "Nov 27 05:10:54 guest kernel: ",
        "2026-11-27T05:10:54.123456+00:00 guest kernel: [   40.000000] ",
    ],
)
def test_report_behind_whatever_a_log_puts_before_lines(before: str) -> None:
    text = "".join(f"{before}{line}\n" for line in (*RCU, *ATOMIC, *ARM64))
    assert [splat.kind for splat in find_splats(text)] == ["lockdep", "atomic-sleep", "page-fault"]


# -- one crash -------------------------------------------------------------------------------


def test_crash_with_a_stray_line_between_oops_and_panic_is_one() -> None:
    lines = recorded("oops-panic").splitlines()
    end = next(n for n, line in enumerate(lines) if "end trace" in line)
    lines.insert(end + 1, "[   35.337000] e1000 0000:00:02.0 eth0: NIC Link is Down")
    lines[-2:] = [
        "[   35.360000] Kernel panic - not syncing: Fatal exception in interrupt",
        "[   35.361000] Kernel Offset: disabled",
        "[   35.362000] ---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---",
    ]
    (splat,) = find_splats("\n".join(lines))
    assert splat.title == "kernel BUG at provoke.c!"
    assert "Call Trace" in splat.text
    assert splat.text.endswith("Fatal exception in interrupt ]---")


@pytest.mark.parametrize(
    ("report", "panic"),
    [
        ("warn", "kernel: panic_on_warn set ..."),
        ("kasan", "kasan.fault=panic set ..."),
        ("bug", "Fatal exception"),
        ("bug", "Attempted to kill init! exitcode=0x0000000b"),
        ("bug", "Oops: Fatal exception in interrupt"),
    ],
)
def test_panic_that_another_report_leads_to_is_its_end(report: str, panic: str) -> None:
    text = recorded(report) + stamped(f"Kernel panic - not syncing: {panic}", *TRACE)
    (splat,) = find_splats(text)
    assert splat.title == find_splats(recorded(report))[0].title
    assert panic in splat.text


def test_panic_of_a_hung_task_is_the_end_of_its_report() -> None:
    text = stamped(
        *hung(61),
        "Showing all locks held in the system:",
        "1 lock held by khungtaskd/30:",
        " #0: ffffffff8e13b5e0 (rcu_read_lock){....}-{1:3}, at: debug_show_all_locks+0x36/0x1c0",
        "",
        "=============================================",
        "",
        "NMI backtrace for cpu 1",
        *TRACE,
        "Kernel panic - not syncing: hung_task: blocked tasks",
        *TRACE,
    )
    assert [splat.kind for splat in find_splats(text)] == ["hung-task"]


def test_panic_long_after_an_oops_that_was_survived_is_no_end_of_it() -> None:
    """Who expects the oops does not expect the panic."""
    between = stamped(*(f"luo_test: line {n}" for n in range(300)))
    panic = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009"
    found = find_splats(recorded("bug") + between + stamped(panic, *TRACE))
    assert [splat.kind for splat in found] == ["bug", "panic"]


def test_panic_of_init_that_was_killed_is_no_end_of_an_oops() -> None:
    panic = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009"
    found = find_splats(recorded("bug") + stamped(panic, *TRACE))
    assert [splat.kind for splat in found] == ["bug", "panic"]


def test_panic_of_the_next_kernel_is_not_the_end_of_an_oops_of_the_last() -> None:
    text = recorded("bug") + stamped(
        "Linux version 7.0.13 (gcc) #1 SMP", "Kernel panic - not syncing: Fatal exception"
    )
    assert [splat.kind for splat in find_splats(text)] == ["bug", "panic"]


# -- all of it -------------------------------------------------------------------------------

INVERSION = (
    "========================================================",
    "WARNING: possible irq lock inversion dependency detected",
    "7.0.13 #1 Not tainted",
    "--------------------------------------------------------",
    "swapper/0/0 just changed the state of lock:",
    "ffff8880aeb28a18 (&timer->lock){-...}-{2:2}, at: snd_timer_interrupt+0x1/0x2",
    "but this lock took another, HARDIRQ-unsafe lock in the past:",
    " (&new->fa_lock){....}-{2:2}",
    "",
    "",
    "and interrupts could create inverse lock ordering between them.",
    "",
    "",
    "other info that might help us debug this:",
    "Chain exists of:",
    "  &timer->lock --> &client->lock --> &new->fa_lock",
    "",
    " Possible interrupt unsafe locking scenario:",
    "",
    "       CPU0                    CPU1",
    "       ----                    ----",
    "  lock(&new->fa_lock);",
    "                               local_irq_disable();",
    "                               lock(&timer->lock);",
    "                               lock(&client->lock);",
    "  <Interrupt>",
    "    lock(&timer->lock);",
    "",
    " *** DEADLOCK ***",
    "",
    *(
        line
        for n in range(9)
        for line in (f" #{n}: ffff88800{n}c0ffee (&a{n}->lock){{+.+.}}-{{3:3}}, at: f{n}+0x1/0x2",)
    ),
    "",
    "the shortest dependencies between 2nd lock and 1st lock:",
    "   -> (&new->fa_lock){....}-{2:2} {",
    "      INITIAL USE at:",
    *("                         lock_acquire+0x1/0x2",) * 60,
    "    }",
    "    ... key      at: [<ffffffff91a5c3a0>] fasync_insert_entry.__key+0x0/0x40",
    "    ... acquired at:",
    *("   lock_acquire+0x1/0x2",) * 60,
    "",
    "stack backtrace:",
    "CPU: 0 UID: 0 PID: 0 Comm: swapper/0 Not tainted 7.0.13 #1",
    "Call Trace:",
    " <IRQ>",
    *(f" deep_{n}+0x1/0x2" for n in range(200)),
    " </IRQ>",
)


@pytest.mark.parametrize("timed", [True, False])
def test_long_lockdep_report_is_kept_to_its_end(timed: bool) -> None:
    text = stamped(*INVERSION) if timed else "\n".join(INVERSION)
    (splat,) = find_splats(text)
    assert splat.title == "WARNING: possible irq lock inversion dependency detected"
    assert len(splat.text.splitlines()) == len(INVERSION) - 1
    assert splat.text.endswith("</IRQ>")


@pytest.mark.parametrize("name", ["atomic", "bug", "kasan", "lockdep", "null", "panic", "warn"])
def test_report_without_times_is_kept_whole(name: str) -> None:
    text = re.sub(r"(?m)^\[ *\d+\.\d+\] ", "", recorded(name))
    plain, timed = find_splats(text), find_splats(recorded(name))
    assert told(plain) == told(timed)
    assert [len(s.text.splitlines()) for s in plain] == [len(s.text.splitlines()) for s in timed]


def test_message_of_a_warning_is_part_of_its_report() -> None:
    text = stamped(
        "------------[ cut here ]------------",
        "refcount_t: underflow; use-after-free.",
        "WARNING: CPU: 0 PID: 61 at lib/refcount.c:28 refcount_warn_saturate+0x1/0x2",
        "Modules linked in:",
        *TRACE,
        "---[ end trace 0000000000000000 ]---",
    )
    (splat,) = find_splats(text)
    assert "underflow; use-after-free" in splat.text
    assert splat.title == "WARNING: CPU at lib/refcount.c refcount_warn_saturate"


def test_long_dump_before_the_end_of_a_report_begins_no_other() -> None:
    dump = [f"  insmod-61      0..... {n}us : luo_test_init: <-do_one_initcall" for n in range(99)]
    lines = recorded("oops-panic").splitlines()
    end = next(n for n, line in enumerate(lines) if "end trace" in line)
    lines[end:end] = ["[   35.336700] Dumping ftrace buffer:", *dump]
    (splat,) = find_splats("\n".join(lines))
    assert splat.title == "kernel BUG at provoke.c!"
    assert "end trace" in splat.text
    assert "Fatal exception" in splat.text


@pytest.mark.parametrize("line", ["BUG:", "WARNING:", "BUG: ", "WARNING: "])
def test_report_whose_first_line_was_cut_off_is_one(line: str) -> None:
    (splat,) = find_splats(stamped("init: up", line, "Modules linked in:", *TRACE))
    assert "luo_test_init" in splat.text


# -- kinds and titles ------------------------------------------------------------------------

NULL = "Unable to handle kernel NULL pointer dereference at virtual address ADDR"
ONE_LINE = [
    # kernel/rcu/tasks.h, tree_exp.h, tree_stall.h
    ("rcu: INFO: rcu_tasks detected stalls on tasks:", "rcu-stall", None),
    ("INFO: rcu_tasks_trace detected stalls on tasks:", "rcu-stall", None),
    (
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-...D } 2000 jiffies",
        "rcu-stall",
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks:",
    ),
    ("INFO: rcu_sched detected stalls on CPUs/tasks: { 1} (t=2100 jiffies)", "rcu-stall", None),
    ("rcu: INFO: rcu_sched self-detected stall on CPU", "rcu-stall", None),
    (
        "unregister_netdevice: waiting for lo to become free. Usage count = 2",
        "dos",
        "unregister_netdevice: waiting for lo to become free. Usage count = N",
    ),
    (
        "PANIC: early exception 0x0d IP 10:ffffffff81a3b0c1 error 0 cr2 0xffff888003c0f000",
        "panic",
        "PANIC: early exception 0x0d IP ADDR",
    ),
    ("traps: PANIC: double fault, error_code: 0x0", "oops", None),
    (
        "INFO: task rmmod:61 blocked in I/O wait for more than 120 seconds.",
        "hung-task",
        "INFO: task rmmod blocked in I/O wait for N seconds.",
    ),
    ("BUG: KMSAN: uninit-value in f+0x1/0x2", "kmsan", "BUG: KMSAN: uninit-value in f"),
    ("WARNING: insmod/61 still has locks held!", "lockdep", None),
    ("WARNING: lock held when returning to user space!", "lockdep", None),
    ("BUG: lock held at task exit time!", "lockdep", None),
    ("WARNING: chain_key collision", "lockdep", None),
    ("WARNING: bad unlock balance detected!", "lockdep", None),
    ("[ INFO: possible circular locking dependency detected ]", "lockdep", None),
    ("BUG: using smp_processor_id() in preemptible [00000000] code: insmod/61", "lockdep", None),
    ("BUG: spinlock bad magic on CPU#0, insmod/61", "lockdep", None),
    (
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 33s!",
        "workqueue-lockup",
        "BUG: workqueue lockup - pool stuck for N seconds!",
    ),
    ("BUG: sleeping function called from invalid context at a.c:3", "atomic-sleep", None),
    ("BUG: assuming atomic context at kernel/a.c:3", "atomic-sleep", None),
    ("CFI failure at f+0x1/0x2 (target: g+0x0/0x2; expected type: 0x12345678)", "cfi", None),
    ("general protection fault: 0000 [#1] SMP KASAN", "oops", None),
    ("divide error: 0000 [#1] SMP", "oops", None),
    ("stack segment: 0000 [#1] SMP", "oops", None),
    ("BUG: unable to handle kernel paging request at ffffffffc025e288", "page-fault", None),
    ("BUG: unable to handle kernel NULL pointer dereference at 00000008", "page-fault", None),
    ("BUG: Bad page map in process sh  pte:80000001 pmd:0a1b2c067", "bug", None),
    ("kernel BUG at mm/slub.c:4000!", "bug", "kernel BUG at mm/slub.c!"),
    ("BUG task_struct(33:a) (Tainted: G    B  ): Poison overwritten", "slab", None),
    ("BUG: memory leak", "kmemleak", None),
    ("Kernel panic - not syncing: VFS: Unable to mount root fs", "panic", None),
    # arm64: arch/arm64/mm/fault.c, arch/arm64/kernel/traps.c
    (
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
        "page-fault",
        NULL,
    ),
    ("Unable to handle kernel access to user memory outside uaccess routines", "page-fault", None),
    ("Unable to handle kernel write to read-only memory at virtual", "page-fault", None),
    ("Internal error: Oops: 0000000096000004 [#1]  SMP", "oops", "Internal error: Oops: ADDR SMP"),
    (
        "Internal error: Oops - FPAC: 0000000072000000 [#1]  SMP",
        "oops",
        "Internal error: Oops - FPAC: ADDR SMP",
    ),
    ("Internal error: Oops - BTI: 0000000034000002 [#1]  SMP", "oops", None),
    ("Internal error: Oops - CFI: 00000000f2008228 [#1]  SMP", "oops", None),
    ("Internal error: synchronous external abort: 0000000096000010 [#1]  SMP", "oops", None),
    ("Internal error: SP/PC alignment exception: 000000008a000000 [#1]  SMP", "oops", None),
    (
        "SError Interrupt on CPU3, code 0x00000000bf000002 -- SError",
        "oops",
        "SError Interrupt on CPU, code ADDR -- SError",
    ),
    ("Bad mode in Error handler detected on CPU0, code 0xbf000002 -- SError", "oops", None),
    ("Unhandled 64-bit el1h sync exception on CPU0, ESR 0x0000000002000000", "oops", None),
    ("Insufficient stack space to handle exception!", "oops", None),
    ("BUG: KASAN: invalid-access in f+0x1/0x2", "kasan", None),
    # riscv: arch/riscv/kernel/traps.c
    ("Oops [#1]", "oops", "Oops"),
    ("Oops - illegal instruction [#1]", "oops", "Oops - illegal instruction"),
    ("Kernel BUG [#1]", "bug", "Kernel BUG"),
    # arm: arch/arm/kernel/traps.c
    ("Internal error: Oops: 5 [#1] SMP ARM", "oops", None),
    ("Unhandled fault: imprecise external abort (0x1406) at 0x00000000", "oops", None),
]


@pytest.mark.parametrize(("line", "kind", "title"), ONE_LINE)
def test_first_line_tells_kind_and_title(line: str, kind: str, title: str | None) -> None:
    ((found_kind, found_title),) = told(find_splats(stamped("init: up", line)))
    assert found_kind == kind
    assert found_title == title if title is not None else found_title


ADVICE = [
    "WARNING: The mand mount option has been deprecated and",
    "WARNING: fbcon: Driver 'simpledrmdrmfb' missed to adjust virtual screen size (0x0 vs. 1x1)",
    "WARNING: Spectre v2 mitigation leaves CPU vulnerable",
    "WARNING: Flushing system-wide workqueues will be prohibited in near future.",
    "WARNING: workqueue cpumask: online intersect > possible intersect",
    "WARNING: can't open /etc/shadow",
    "INFO: lockdep is turned off.",
    "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.2 msecs",
    "rcu: INFO: Stall ended before state dump start",
    "EXT4-fs (loop1): INFO: recovery required on readonly filesystem",
    "traps: a.out[61] general protection fault ip:4011 sp:7ffd error:0 in a.out[1000,2000]",
    "a.out[61]: segfault at 0 ip 00000000004011 sp 00007ffd error 4 in a.out",
    "Memory cgroup out of memory: Killed process 61 (sh) total-vm:1234kB, anon-rss:12kB",
    "Kernel command line: console=ttyS0 panic_on_warn=1 oops=panic hung_task_panic=1",
    "DEBUG: nothing",
    "rcu: Offload RCU callbacks from CPUs: (none).",
]


@pytest.mark.parametrize("stamp", ["", "[    1.000000] "])
@pytest.mark.parametrize("line", ADVICE)
def test_advice_is_no_splat(line: str, stamp: str) -> None:
    text = f"{stamp}systemd: up\n{stamp}{line}\n{stamp}luo_test: loaded: 1 handlers\n"
    assert find_splats(text) == ()


def test_unknown_warning_with_a_trace_is_one() -> None:
    (splat,) = find_splats(stamped("WARNING: a new kind of trouble", *TRACE))
    assert (splat.kind, splat.title) == ("warning", "WARNING: a new kind of trouble")


def test_unknown_report_of_lockdep_is_known_by_its_box() -> None:
    (splat,) = find_splats(stamped("=" * 30, "WARNING: new lock trouble", "7.0.13", "-" * 30))
    assert splat.kind == "lockdep"


# -- arm64 and riscv -------------------------------------------------------------------------

ARM64 = (
    "Unable to handle kernel paging request at virtual address dfff800000000001",
    "KASAN: null-ptr-deref in range [0x0000000000000008-0x000000000000000f]",
    "Mem abort info:",
    "  ESR = 0x0000000096000005",
    "  EC = 0x25: DABT (current EL), IL = 32 bits",
    "  SET = 0, FnV = 0",
    "  EA = 0, S1PTW = 0",
    "  FSC = 0x05: level 1 translation fault",
    "Data abort info:",
    "  ISV = 0, ISS = 0x00000005, ISS2 = 0x00000000",
    "  CM = 0, WnR = 0, TnD = 0, TagAccess = 0",
    "  GCS = 0, Overlay = 0, DirtyBit = 0, Xs = 0",
    "[dfff800000000001] address between user and kernel address ranges",
    "Internal error: Oops: 0000000096000005 [#1]  SMP",
    "Modules linked in: luo_test(O)",
    "CPU: 0 UID: 0 PID: 61 Comm: insmod Tainted: G           O        7.0.13 #1 PREEMPT",
    "Hardware name: linux,dummy-virt (DT)",
    "pstate: 60400005 (nZCv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)",
    "pc : luo_test_init+0x54/0x98 [luo_test]",
    "lr : luo_test_init+0x40/0x98 [luo_test]",
    "sp : ffff800083c0b9f0",
    "x29: ffff800083c0b9f0 x28: 0000000000000000 x27: ffff0000c0d8c000",
    "x26: 0000000000000000 x25: 0000000000000000 x24: ffff80007bbf0000",
    "Call trace:",
    " luo_test_init+0x54/0x98 [luo_test] (P)",
    " do_one_initcall+0x44/0x2a0",
    " el0t_64_sync+0x198/0x19c",
    "Code: d2800101 f2fbffe1 d343fc02 8b010041 (39400021) ",
    "---[ end trace 0000000000000000 ]---",
    "Kernel panic - not syncing: Oops: Fatal exception",
    "SMP: stopping secondary CPUs",
    "Kernel Offset: 0x2c0000000 from 0xffff800080000000",
    "PHYS_OFFSET: 0x40000000",
    "CPU features: 0x00000000,00000080,0f1bbd21",
    "Memory Limit: none",
    "---[ end Kernel panic - not syncing: Oops: Fatal exception ]---",
)
SERROR = (
    "SError Interrupt on CPU0, code 0x00000000bf000002 -- SError",
    "CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted 7.0.13 #1 PREEMPT",
    "Hardware name: linux,dummy-virt (DT)",
    "pstate: 60400085 (nZCv daIf +PAN -UAO -TCO -DIT -SSBS BTYPE=--)",
    "pc : el1_interrupt+0x20/0x70",
    "lr : el1h_64_irq_handler+0x18/0x28",
    "sp : ffff80000b99b880",
    "x29: ffff80000b99b880 x28: ffff00008032c400 x27: 0000000000000001",
    "Kernel panic - not syncing: Asynchronous SError Interrupt",
    "CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted 7.0.13 #1 PREEMPT",
    "Call trace:",
    " show_stack+0x20/0x38 (C)",
    " panic+0x3a8/0x408",
    " arm64_serror_panic+0x78/0x88",
    "SMP: stopping secondary CPUs",
    "---[ end Kernel panic - not syncing: Asynchronous SError Interrupt ]---",
)
OVERFLOW = (
    "Insufficient stack space to handle exception!",
    "ESR: 0x0000000096000047 -- DABT (current EL)",
    "FAR: 0xffff800080017ff0",
    "Task stack:     [0xffff800080018000..0xffff80008001c000]",
    "IRQ stack:      [0xffff800080000000..0xffff800080004000]",
    "Overflow stack: [0xffff0000ff7a8320..0xffff0000ff7a9320]",
    "CPU: 0 UID: 0 PID: 61 Comm: insmod Not tainted 7.0.13 #1 PREEMPT",
    "pstate: 80400005 (Nzcv daif +PAN -UAO -TCO -DIT -SSBS BTYPE=--)",
    "pc : recurse+0x4/0x40 [luo_test]",
    "lr : recurse+0x20/0x40 [luo_test]",
    "Kernel panic - not syncing: kernel stack overflow",
    "Call trace:",
    " panic_bad_stack+0x11c/0x120",
)
RISCV = (
    "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
    "Current insmod pgtable: 4K pagesize, 57-bit VAs, pgdp=0x0000000084d5a000",
    "[0000000000000008] pgd=0000000021358001, p4d=0000000021358001",
    "Oops [#1]",
    "Modules linked in: luo_test(O+)",
    "CPU: 0 UID: 0 PID: 61 Comm: insmod Tainted: G           O        7.0.13 #1",
    "Hardware name: riscv-virtio,qemu (DT)",
    "epc : luo_test_init+0x12/0x30 [luo_test]",
    " ra : do_one_initcall+0x5a/0x1c0",
    "epc : ffffffff01a3e012 ra : ffffffff80002a5c sp : ff200000000cbb40",
    " gp : ffffffff81a1b5c8 tp : ff6000008129ba00 t0 : 0000000000000000",
    "status: 0000000200000120 badaddr: 0000000000000008 cause: 000000000000000d",
    "[<ffffffff01a3e012>] luo_test_init+0x12/0x30 [luo_test]",
    "[<ffffffff80002a5c>] do_one_initcall+0x5a/0x1c0",
    "Code: 1141 e422 0800 4781 (6798) 0017",
    "---[ end trace 0000000000000000 ]---",
    "Kernel panic - not syncing: Fatal exception in interrupt",
)
TAGS = (
    "==================================================================",
    "BUG: KASAN: invalid-access in luo_test_init+0x54/0x98 [luo_test]",
    "Write at addr f5ff0000c3a1e040 by task insmod/61",
    "Pointer tag: [f5], memory tag: [fe]",
    "",
    "CPU: 0 UID: 0 PID: 61 Comm: insmod Not tainted 7.0.13 #1 PREEMPT",
    "Hardware name: linux,dummy-virt (DT)",
    "Call trace:",
    " show_stack+0x20/0x38 (C)",
    " luo_test_init+0x54/0x98 [luo_test]",
    "",
    "The buggy address belongs to the object at ffff0000c3a1e000",
    "Memory state around the buggy address:",
    " ffff0000c3a1de00: f1 f1 f1 f1 f1 f1 f1 f1 f1 f1 f1 f1 f1 f1 f1 f1",
    ">ffff0000c3a1e000: f5 f5 f5 f5 fe fe fe fe fe fe fe fe fe fe fe fe",
    "                               ^",
    "==================================================================",
    "Disabling lock debugging due to kernel taint",
)


@pytest.mark.parametrize(
    ("lines", "kind", "title", "last"),
    [
        (
            ARM64,
            "page-fault",
            "Unable to handle kernel paging request at virtual address ADDR in luo_test_init",
            "Oops: Fatal exception ]---",
        ),
        (
            SERROR,
            "oops",
            "SError Interrupt on CPU, code ADDR -- SError in el1_interrupt",
            "Asynchronous SError Interrupt ]---",
        ),
        (
            OVERFLOW,
            "oops",
            "Insufficient stack space to handle exception! in recurse",
            "panic_bad_stack+0x11c/0x120",
        ),
        (
            RISCV,
            "page-fault",
            f"{NULL} in luo_test_init",
            "Fatal exception in interrupt",
        ),
        (
            TAGS,
            "kasan",
            "BUG: KASAN: invalid-access in luo_test_init [luo_test]",
            "=" * 66,
        ),
    ],
    ids=["arm64", "serror", "overflow", "riscv", "tags"],
)
def test_report_of_another_architecture(
    lines: tuple[str, ...], kind: str, title: str, last: str
) -> None:
    text = stamped("luo_test: loading", *lines, "luo_test: this is not part of it")
    (splat,) = find_splats(text)
    assert (splat.kind, splat.title) == (kind, title)
    assert splat.text.endswith(last)


def test_fault_of_an_old_kernel_says_where() -> None:
    text = stamped(
        "BUG: unable to handle kernel paging request at ffff88002bde1e40",
        "IP: [<ffffffff82d4e304>] __memset+0x24/0x30",
        "PGD ae2c067 PUD ae2d067 PMD 7faa5067 PTE 800000002bde1060",
        "Oops: 0002 [#1] SMP DEBUG_PAGEALLOC KASAN",
        "CPU: 1 PID: 61 Comm: insmod Not tainted 4.8.0-rc3+ #33",
        "RIP: 0010:[<ffffffff82d4e304>]  [<ffffffff82d4e304>] __memset+0x24/0x30",
    )
    (splat,) = find_splats(text)
    assert splat.title == "BUG: unable to handle kernel paging request at ADDR in __memset"


def test_stall_with_backtraces_of_other_processors_is_one() -> None:
    text = stamped(
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "rcu: \t0-...0: (1 GPs behind) idle=0a14/1/0x4000000000000000 softirq=44/45 fqs=2624",
        "rcu: \t(detected by 1, t=5252 jiffies, g=-963, q=12 ncpus=2)",
        "Sending NMI from CPU 1 to CPUs 0:",
        "NMI backtrace for cpu 0",
        *TRACE,
        "rcu: rcu_preempt kthread starved for 5252 jiffies! g-963 f0x0 RCU_GP_WAIT_FQS(5)",
        "rcu: \tUnless rcu_preempt kthread gets sufficient CPU time, OOM is now expected behavior.",
        "rcu: RCU grace-period kthread stack dump:",
        "task:rcu_preempt     state:R stack:28944 pid:16    tgid:16    ppid:2      flags:0x4000",
        *TRACE[2:],
    )
    (splat,) = find_splats(text)
    assert splat.kind == "rcu-stall"
    assert "grace-period kthread stack dump" in splat.text
