# SPDX-License-Identifier: GPL-2.0-only
"""Splats are found in recorded consoles (Linux 7.0.13, KASAN and lockdep on), nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.results.kernel_log import (
    KnownIssue,
    classify,
    find_splats,
)

# Recorded in a guest of the debug profile (boot, and arm64 but for its atomic, kasan, lockdep and
# stall: of the default profile; arm64's tags, serror, fpac and pac: of the profile tags; pac with
# "-cpu max": QEMU 7.2 lets a pointer with a wrong signature be used, and that faults), except for:
#   advice        the beginning of boot, then boot-time advice as the kernel sources word it
#   arm64-fpac, arm64-serror    a module called do_el1_fpac() and el1h_64_error_handler(): QEMU
#                 emulates neither the one exception nor the other
#   kmemleak      mm/kmemleak.c: kmemleak_scan()
#   oops-panic    bug, then what oops_end() of arch/x86/kernel/dumpstack.c adds with oops=panic
#   wait-context  kernel/locking/lockdep.c: print_lock_invalid_wait_context()
RECORDED = Path(__file__).resolve().parents[1] / "data" / "console"

AT = "at virtual address ADDR"

SPLATS = {
    "atomic": [
        (
            "atomic-sleep",
            "BUG: sleeping function called from invalid context at provoke.c",
        )
    ],
    "bug": [("bug", "kernel BUG at provoke.c!")],
    "kasan": [("kasan", "BUG: KASAN: slab-out-of-bounds in provoke_init [provoke]")],
    "list-twice": [
        (
            "list-corruption",
            "list_del corruption. prev->next should be ADDR, but was ADDR. (prev=ADDR)",
        )
    ]
    * 2,
    "lockdep": [("lockdep", "WARNING: possible circular locking dependency detected")],
    "null": [
        ("kasan", "BUG: KASAN: null-ptr-deref in provoke_init [provoke]"),
        ("page-fault", "BUG: kernel NULL pointer dereference, address: ADDR in provoke_init"),
    ],
    "panic": [("panic", "Kernel panic - not syncing: asked for")],
    "oops-panic": [("bug", "kernel BUG at provoke.c!")],
    "warn": [("warning", "WARNING: provoke.c at provoke_init [provoke], CPU: insmod/N")],
    "boot": [],
    "advice": [],
    "arm64-warn": [("warning", "WARNING: provoke.c at provoke_init [provoke], CPU: insmod/N")],
    # The task's processor goes idle with interrupts off.
    "arm64-bug": [
        ("bug", "kernel BUG at provoke.c!"),
        (
            "warning",
            "WARNING: kernel/context_tracking.c at ct_kernel_exit.constprop.0, CPU: swapper/N/N",
        ),
    ],
    "arm64-null": [
        (
            "page-fault",
            f"Unable to handle kernel NULL pointer dereference {AT} in provoke_init",
        )
    ],
    "arm64-oops-panic": [
        (
            "page-fault",
            f"Unable to handle kernel NULL pointer dereference {AT} in provoke_init",
        )
    ],
    "arm64-jump": [("page-fault", f"Unable to handle kernel paging request {AT}")],
    "arm64-undef": [
        ("oops", "Internal error: Oops - Undefined instruction: ADDR SMP in provoke_init")
    ],
    "arm64-readonly": [
        (
            "page-fault",
            f"Unable to handle kernel write to read-only memory {AT} in provoke_init",
        )
    ],
    "arm64-panic": [("panic", "Kernel panic - not syncing: asked for")],
    "arm64-atomic": [
        ("atomic-sleep", "BUG: scheduling while atomic: insmod/N/ADDR"),
        ("warning", "WARNING: init/main.c at do_one_initcall, CPU: insmod/N"),
    ],
    "arm64-kasan": [("kasan", "BUG: KASAN: slab-use-after-free in luo_use_after_free [provoke]")],
    "arm64-lockdep": [("lockdep", "WARNING: possible circular locking dependency detected")],
    "arm64-tags": [("kasan", "BUG: KASAN: invalid-access in luo_out_of_bounds [provoke]")],
    "arm64-serror": [("oops", "SError Interrupt on CPU, code ADDR -- SError in luo_serror")],
    "arm64-fpac": [("oops", "Internal error: Oops - FPAC: ADDR SMP in luo_fpac")],
    "arm64-pac": [("page-fault", f"Unable to handle kernel paging request {AT}")],
    "arm64-stall": [("rcu-stall", "rcu: INFO: rcu_sched self-detected stall on CPU")],
}


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text()


# -- splats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPLATS)
def test_splats_of_a_recorded_console(name: str) -> None:
    found = find_splats(recorded(name))
    assert [(splat.kind, splat.title) for splat in found] == SPLATS[name]


@pytest.mark.parametrize("name", [name for name in SPLATS if SPLATS[name]])
def test_splat_begins_where_it_says(name: str) -> None:
    text = recorded(name)
    for splat in find_splats(text):
        assert splat.text.splitlines()[0] == text.splitlines()[splat.line]


@pytest.mark.parametrize("name", ["bug", "kasan", "lockdep", "warn"])
def test_splat_holds_its_call_trace(name: str) -> None:
    assert "Call Trace" in find_splats(recorded(name))[0].text


ARM64_OOPSES = ("bug", "null", "undef", "readonly", "oops-panic", "warn")


@pytest.mark.parametrize("name", ARM64_OOPSES)
def test_splat_of_arm64_is_whole(name: str) -> None:
    """From its first line on: registers, trace, and the line that says that it ends."""
    splat = find_splats(recorded(f"arm64-{name}"))[0].text
    for line in ("pstate: ", "pc : ", "lr : ", "x29: ", "x2 : ", "Call trace:", "el0t_64_sync+0x"):
        assert line in splat, line
    assert "loading out-of-tree module" not in splat
    assert splat.count("Call trace:") == 1
    assert "---[ end trace 0000000000000000 ]---" in splat


ARM64_TRACES = ("atomic", "kasan", "lockdep", "stall", "tags", "serror", "fpac", "pac")


@pytest.mark.parametrize("name", ARM64_TRACES)
def test_splat_of_arm64_holds_its_call_trace(name: str) -> None:
    splat = find_splats(recorded(f"arm64-{name}"))[0].text
    assert re.search(r"Call trace:\n.*\[provoke\].* el0t_64_sync\+0x", splat, re.DOTALL)
    assert "loading out-of-tree module" not in splat


@pytest.mark.parametrize(
    ("name", "said"), [("oops-panic", "Oops: Fatal exception"), ("serror", "Asynchronous SError")]
)
def test_panic_of_an_oops_of_arm64_belongs_to_it(name: str, said: str) -> None:
    (splat,) = find_splats(recorded(f"arm64-{name}"))
    assert f"Kernel panic - not syncing: {said}" in splat.text


def test_splat_ends_before_what_is_printed_next() -> None:
    text = recorded("warn") + "[   49.000000] luo_test: loaded: 1 handlers\n"
    assert "luo_test" not in find_splats(text)[0].text


@pytest.mark.parametrize(
    "stamp", ["", "[   12.345678] ", "<4>[   12.345678] ", "[    1.2][  T61] "]
)
def test_splat_is_found_behind_any_prefix(stamp: str) -> None:
    (splat,) = find_splats(f"{stamp}WARNING: kernel/a.c:3 at f+0x1/0x2, CPU#1: x/5\n")
    assert splat.kind == "warning"
    assert splat.title == "WARNING: kernel/a.c at f, CPU: x/N"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "BUG: KASAN: slab-use-after-free in f+0x12/0x34",
            "BUG: KASAN: slab-use-after-free in f+0x9a/0xbc",
        ),
        (
            "WARNING: kernel/a.c:3 at f+0x1/0x2, CPU#0: insmod/61",
            "WARNING: kernel/a.c:9 at f+0x5/0x6, CPU#1: insmod/99",
        ),
        (
            "BUG: unable to handle page fault for address: ffff888003c0ffee",
            "BUG: unable to handle page fault for address: ffff888004c0ffee",
        ),
        (
            "INFO: task rmmod:61 blocked for more than 120 seconds.",
            "INFO: task rmmod:99 blocked for more than 241 seconds.",
        ),
        (
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [rmmod:61]",
            "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [rmmod:99]",
        ),
        (
            "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 0",
            "watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 1",
        ),
        (
            "BUG: scheduling while atomic: insmod/61/0x00000002",
            "BUG: scheduling while atomic: insmod/99/0x00000002",
        ),
        (
            "WARNING: kernel/a.c:3 at f+0x1/0x2, CPU#0: kworker/u8:2/33",
            "WARNING: kernel/a.c:3 at f+0x1/0x2, CPU#1: kworker/u8:0/12",
        ),
        (
            "Out of memory: Killed process 61 (sh) total-vm:1234kB, anon-rss:12kB, UID:0",
            "Out of memory: Killed process 99 (sh) total-vm:1240kB, anon-rss:16kB, UID:0",
        ),
        (
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        ),
        (
            "BUG: Bad page state in process insmod  pfn:06a86",
            "BUG: Bad page state in process insmod  pfn:07c11",
        ),
    ],
)
def test_title_is_the_same_in_another_run(one: str, other: str) -> None:
    assert find_splats(one)[0].title == find_splats(other)[0].title


@pytest.mark.parametrize(
    "line",
    [
        "luo_test: WARNING: this is the module's own text",
        "Spectre V2 : WARNING: Unprivileged eBPF is enabled",
        "WARNING: Spectre v2 mitigation leaves CPU vulnerable",
        "kasan: KernelAddressSanitizer initialized (generic)",
        "lockdep: fixing up alternatives",
        "printk: BUGfix applied",
        "harness: noise",
    ],
)
def test_look_alike_is_no_splat(line: str) -> None:
    assert find_splats(f"[    1.000000] {line}\n") == ()


def test_panic_that_an_oops_ends_in_is_part_of_it() -> None:
    (splat,) = find_splats(recorded("oops-panic"))
    assert "Call Trace" in splat.text
    assert "Kernel panic - not syncing: Fatal exception" in splat.text


def test_panic_long_after_an_oops_is_another_splat() -> None:
    """The oops of a process need not end the kernel."""
    between = "".join(f"[   36.{n:06}] luo_test: line {n}\n" for n in range(20))
    found = find_splats(recorded("bug") + between + recorded("panic"))
    assert [splat.kind for splat in found] == ["bug", "panic"]


def test_splats_of_two_consoles_in_a_row_are_all_found() -> None:
    found = find_splats(recorded("warn") + recorded("kasan") + recorded("lockdep"))
    assert [splat.kind for splat in found] == ["warning", "kasan", "lockdep"]


def test_kmemleak_report_is_a_splat_of_one_line() -> None:
    (splat,) = find_splats(recorded("kmemleak"))
    assert splat.kind == "kmemleak"
    assert splat.text.endswith("3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)")


def test_lockdep_report_that_is_put_in_brackets_is_found() -> None:
    (splat,) = find_splats(recorded("wait-context"))
    assert splat.kind == "lockdep"
    assert "Invalid wait context" in splat.title


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Oops: general protection fault, probably for non-canonical address 0x1f: 0000", "oops"),
        ("BUG: KFENCE: use-after-free read in f+0x1/0x2", "kfence"),
        ("BUG: KCSAN: data-race in f / g", "kcsan"),
        ("UBSAN: array-index-out-of-bounds in kernel/a.c:3:5", "ubsan"),
        ("BUG: scheduling while atomic: insmod/64/0x00000002", "atomic-sleep"),
        ("BUG kmalloc-64 (Not tainted): Right Redzone overwritten", "slab"),
        ("BUG: Bad page state in process insmod  pfn:06a86", "bug"),
        ("rcu: INFO: rcu_preempt self-detected stall on CPU", "rcu-stall"),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:64]", "soft-lockup"),
        ("WARNING: suspicious RCU usage", "lockdep"),
        ("WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", "lockdep"),
        ("BUG: MAX_LOCKDEP_KEYS too low!", "lockdep"),
        ("INFO: trying to register non-static key.", "lockdep"),
        # A warning is one wherever it comes from.
        (
            "WARNING: arch/x86/kernel/cpu/bugs.c:9 at srso_select_mitigation+0x1/0x2, CPU#0: x/0",
            "warning",
        ),
    ],
)
def test_first_line_tells_the_kind(line: str, kind: str) -> None:
    assert [splat.kind for splat in find_splats(f"[    1.000000] {line}\n")] == [kind]


# -- verdicts --------------------------------------------------------------------------------


def issue(title: str, kernels: str = "") -> KnownIssue:
    return KnownIssue(title=title, reason="the base has it", kernels=kernels)


def test_classify_nobody_asked_for_it() -> None:
    verdict = classify(find_splats(recorded("kasan")), (), ())
    assert (len(verdict.unexpected), verdict.expected, verdict.known) == (1, (), ())


def test_classify_expected_by_its_title() -> None:
    verdict = classify(find_splats(recorded("kasan")), (), ("slab-out-of-bounds in provoke",))
    assert (verdict.unexpected, len(verdict.expected)) == ((), 1)


def test_classify_known_issue() -> None:
    verdict = classify(find_splats(recorded("kasan")), (issue("slab-out-of-bounds"),), ())
    assert (verdict.unexpected, len(verdict.known)) == ((), 1)


def test_classify_known_issue_of_another_kernel_is_unexpected() -> None:
    known = (issue("slab-out-of-bounds", r"^6\."),)
    verdict = classify(find_splats(recorded("kasan")), known, (), release="7.0.13-p11")
    assert len(verdict.unexpected) == 1


def test_classify_expected_goes_before_known() -> None:
    verdict = classify(find_splats(recorded("kasan")), (issue("KASAN"),), ("KASAN",))
    assert (len(verdict.expected), verdict.known) == (1, ())


def test_recorded_logs_name_no_host() -> None:
    for path in RECORDED.glob("*.log"):
        assert not re.search(r"/(?:home|root|work)/", path.read_text()), path.name
