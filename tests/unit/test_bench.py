# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import cast
from unittest import mock

import pytest
from rich.console import Console as Terminal
from schemas import complaints as wrong_with
from shipped import SERIES, SUITE

from benchmarks.bench import (
    SELFTESTS,
    boot_gauge,
    change_a_line,
    one_line_verdict,
    run_matrix,
    run_selftests,
    selftests_gauge,
)
from benchmarks.figures import (
    BEGIN,
    END,
    MEANINGS,
    RATIOS,
    Figure,
    figure_table,
    ratios,
    to_json,
    to_markdown,
    write_tables,
)
from benchmarks.gauge import GROUPS, Gauge, Values, choose, take
from benchmarks.rivals import (
    KHO_VMTEST,
    LUO_VMTEST,
    Vmtest,
    find_vng,
    own_tree,
    run_vmtest,
    seconds_to_first_command,
    vmtest_gauge,
    vng_argv,
)
from benchmarks.soak import Watch, private_temporary, soak_clones
from harness.base.arch import X86_64
from harness.base.errors import InfrastructureError, InputError
from harness.base.progress import Progress
from harness.base.settings import target_from_settings
from harness.guest.machine import Machine
from harness.guest.timing import Stage, boot_stages, stage_table
from harness.kernel.source import git
from harness.results.records import (
    BootRecord,
    BuildRecord,
    BuildStatus,
    CellRecord,
    CellStatus,
    MatrixRecord,
    record_json,
)


class Printed:
    """A console on which lines were printed at certain times."""

    def __init__(self, **times: float) -> None:
        self.times = times

    def when(self, text: str, *, mark: int = 0) -> float | None:
        assert mark == 0
        return next((at for word, at in self.times.items() if word in text), None)


class Timed:
    """A machine whose start takes a moment."""

    def __init__(self, console: Printed, seconds: float = 0.0) -> None:
        self.console, self.seconds = console, seconds
        self.closed = False

    def start(self) -> None:
        time.sleep(self.seconds)

    def close(self) -> None:
        self.closed = True


def shown(table: object) -> list[list[str]]:
    out = io.StringIO()
    Terminal(file=out, width=100).print(table)
    return [line.split() for line in out.getvalue().splitlines()]


def test_boot_is_split_by_what_the_kernel_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 103.0])
    monkeypatch.setattr("harness.guest.timing.time.monotonic", lambda: next(clock))
    console = Printed(Linux=101.0, Run=102.0, ready=102.5)
    stages = boot_stages(cast(Machine, Timed(console)))
    assert [stage.seconds for stage in stages] == [1.0, 1.0, 0.5, 0.5]
    assert sum(stage.seconds for stage in stages) == 3.0


def test_stage_whose_line_is_missing_falls_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 103.0])
    monkeypatch.setattr("harness.guest.timing.time.monotonic", lambda: next(clock))
    stages = boot_stages(cast(Machine, Timed(Printed(Linux=101.0, ready=102.5))))
    assert [stage.seconds for stage in stages] == [1.0, 1.5, 0.5]


def test_stage_table_has_shares_and_sums() -> None:
    stages = [Stage("boot", "a", 1.0), Stage("boot", "b", 3.0), Stage("update", "a", 0.5)]
    assert shown(stage_table(stages))[1:] == [
        ["boot", "4.000"],
        ["a", "1.000", "25%"],
        ["b", "3.000", "75%"],
        ["update", "0.500"],
        ["a", "0.500", "100%"],
    ]


# -- figures -------------------------------------------------------------------------------


def test_figure_says_what_its_runs_came_to() -> None:
    figure = Figure("boot_to_ssh", (3.0, 1.0, 2.0))
    assert figure.as_json() == {"min": 1.0, "median": 2.0, "max": 3.0, "unit": "s", "runs": 3}
    assert shown(figure_table([figure]))[1:] == [
        ["boot_to_ssh", "1.000", "2.000", "3.000", "s", "3"]
    ]


@pytest.mark.parametrize(
    ("name", "value", "met"),
    [
        ("clone_to_ssh", 0.35, True),
        ("clone_to_ssh", 0.36, False),
        ("clone_vs_boot", 6.0, True),
        ("clone_vs_boot", 5.9, False),
        ("soak_clones", 0, True),
        ("soak_clones", 1, False),
        ("boot_to_ssh", 99.0, None),
    ],
)
def test_figure_is_held_against_its_target(name: str, value: float, met: bool | None) -> None:
    assert Figure(name, (value,)).as_json().get("met") is met


def test_targets_are_those_that_were_set() -> None:
    wanted = {
        "clone_to_ssh": "<= 0.35",
        "liveupdate_roundtrip": "<= 3",
        "one_line_verdict": "<= 90",
        "matrix": "<= 360",
        "matrix_cached": "<= 15",
        "soak_clones": "<= 0",
        "soak_updates": "<= 0",
    }
    assert {n: m.bound for n, m in MEANINGS.items() if m.bound} == wanted
    assert {n: r.meaning.bound for n, r in RATIOS.items() if r.meaning.bound} == {
        "clone_vs_boot": ">= 6",
        "clone_vs_virtme_ng": ">= 6",
        "boot_vs_virtme_ng": ">= 1",
    }


def test_ratio_is_taken_run_by_run() -> None:
    (ratio,) = ratios([Figure("boot_to_ssh", (2.0, 6.0, 9.0)), Figure("clone_to_ssh", (1.0, 1.0))])
    assert (ratio.name, ratio.values) == ("clone_vs_boot", (2.0, 6.0))
    assert ratio.as_json()["unit"] == "x"


def test_ratio_needs_both_figures() -> None:
    assert ratios([Figure("boot_to_ssh", (2.0,)), Figure("clone_to_ssh", (), "no")]) == []


def test_figure_that_failed_is_said_and_has_the_same_keys() -> None:
    failed = Figure("virtme_ng_boot", (), "not installed\nnowhere")
    said = to_json([failed])["virtme_ng_boot"]
    assert wrong_with("bench", to_json([failed, Figure("clone_to_ssh", (1.0,))])) == []
    assert said == {
        **dict.fromkeys(("min", "median", "max")),
        "unit": "s",
        "runs": 0,
        "error": "not installed\nnowhere",
    }
    table = shown(figure_table([Figure("boot_to_ssh", (1.0,)), failed]))
    assert table[-1][0] == "virtme_ng_boot"
    assert table[-1][-2:] == ["not", "installed"]


def test_tables_replace_what_is_between_their_marks(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    figures = [Figure("boot_to_ssh", (1.0,)), Figure("clone_vs_boot", (5.0,))]
    write_tables(document, figures, "a title")
    text = document.read_text()
    assert text == f"before\n{BEGIN}\n{to_markdown(figures, 'a title')}{END}\nafter\n"
    assert "old" not in text
    assert ">= 6: missed" in text
    write_tables(document, figures, "a title")
    assert document.read_text() == text


def test_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    document = tmp_path / "other.md"
    document.write_text("text\n")
    with pytest.raises(InputError, match="no place for tables"):
        write_tables(document, [], "a title")
    assert document.read_text() == "text\n"


# -- measuring -----------------------------------------------------------------------------


def test_choosing_nothing_is_choosing_all() -> None:
    assert choose([]) == set(MEANINGS)


def test_names_are_of_figures_ratios_and_groups() -> None:
    assert choose(["matrix", "clone_vs_boot"]) == {"matrix", "boot_to_ssh", "clone_to_ssh"}
    assert choose(["soak"]) == {"soak_clones", "soak_updates"}
    assert choose(["quick"]) == set(MEANINGS) - set(GROUPS["slow"])


def test_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match="no figure 'clone'") as caught:
        choose(["clone"])
    assert "clone_to_ssh" in str(caught.value.hint)


class Gauged:
    """Gauges that note when they are asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def gauge(self, name: str, *, fails_at: int = 99, **options: object) -> Gauge:
        def measure(logs: Path) -> Values:
            assert list(logs.iterdir()) == []
            (logs / "console.log").touch()
            self.asked.append(name)
            if self.asked.count(name) > fails_at:
                raise InfrastructureError("it is not there")
            return {name: (float(len(self.asked)),)}

        return Gauge(figures=(name,), measure=measure, **options)  # type: ignore[arg-type]

    def take(self, directory: Path, *gauges: Gauge) -> list[Figure]:
        return take(gauges, directory, runs=3, progress=lambda _text: None)


def test_gauges_take_turns(tmp_path: Path) -> None:
    one = Gauged()
    slow, quick = one.gauge("boot_to_ssh"), one.gauge("clone_to_ssh", runs=2)
    figures = one.take(tmp_path, slow, quick)
    assert one.asked == ["boot_to_ssh", "clone_to_ssh"] * 2 + ["boot_to_ssh"]
    assert [figure.values for figure in figures] == [(1.0, 3.0, 5.0), (2.0, 4.0)]
    assert list(tmp_path.iterdir()) == []


def test_gauge_that_is_alone_comes_last_and_is_not_interrupted(tmp_path: Path) -> None:
    one = Gauged()
    one.take(tmp_path, one.gauge("matrix", alone=True, runs=2), one.gauge("boot_to_ssh"))
    assert one.asked == ["boot_to_ssh"] * 3 + ["matrix"] * 2


def test_gauge_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    one = Gauged()
    broken, sound = one.gauge("virtme_ng_boot", fails_at=1), one.gauge("boot_to_ssh")
    by_name = {figure.name: figure for figure in one.take(tmp_path, broken, sound)}
    assert len(by_name["boot_to_ssh"].values) == 3
    assert by_name["virtme_ng_boot"].values == (1.0,)
    assert by_name["virtme_ng_boot"].error == "it is not there"
    assert one.asked.count("virtme_ng_boot") == 2, "it is not asked again"


def test_gauge_that_cannot_be_prepared_is_not_measured(tmp_path: Path) -> None:
    def prepare(_logs: Path) -> None:
        raise InfrastructureError("nothing to measure")

    one = Gauged()
    (figure,) = one.take(tmp_path, one.gauge("vmtest", prepare=prepare))
    assert (figure.values, figure.error, one.asked) == ((), "nothing to measure", [])


def test_measuring_boots_ends_every_machine(tmp_path: Path) -> None:
    made: list[Timed] = []

    def make(_logs: Path) -> Machine:
        made.append(Timed(Printed(), 0.01))
        return cast(Machine, made[-1])

    (figure,) = take([boot_gauge("boot_to_ssh", make)], tmp_path, runs=3, progress=print)
    assert len(figure.values) == 3
    assert min(figure.values) >= 0.01
    assert all(machine.closed for machine in made)


# -- verdicts ------------------------------------------------------------------------------


def test_changed_line_is_one_line_of_the_patch_and_new_each_time(tmp_path: Path) -> None:
    texts = []
    for number in (1, 2):
        series = tmp_path / str(number)
        series.mkdir()
        for patch in SERIES.glob("0007-*.patch"):
            (series / patch.name).write_text(patch.read_text())
            change_a_line(series, number)
            old, new = patch.read_text().splitlines(), (series / patch.name).read_text()
            texts.append(new)
            assert sum(a != b for a, b in zip(old, new.splitlines(), strict=True)) == 1
    assert texts[0] != texts[1]


def test_no_later_patch_has_the_changed_line() -> None:
    later = [path.read_text() for path in sorted(SERIES.glob("00*.patch"))[8:]]
    assert len(later) == 4
    assert not any("private->users--" in text for text in later)


def test_one_line_verdict_is_about_the_shipped_series(tmp_path: Path) -> None:
    target = target_from_settings(lambda name: "none" if name == "series" else None)
    with pytest.raises(InputError, match="shipped series"):
        one_line_verdict(target, tmp_path)


def python_that(monkeypatch: pytest.MonkeyPatch, directory: Path, text: str) -> None:
    """Have a shell script run in the place of the harness."""
    program = directory / "python"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_command_without_a_verdict_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python_that(monkeypatch, tmp_path, "echo error: no KVM >&2; exit 3")
    with pytest.raises(InfrastructureError, match="matrix ended with status 3: error: no KVM"):
        run_matrix(target_from_settings(lambda _name: None), tmp_path)


@pytest.mark.parametrize(("status", "good"), [("tested", True), ("does not boot", False)])
def test_matrix_counts_when_every_position_was_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, good: bool
) -> None:
    cell = CellRecord(
        position=4,
        profile="default",
        subject="x",
        status=CellStatus(status),
        message="",
        build=BuildRecord(status=BuildStatus.OK),
        boot=BootRecord(),
        tests={},
        seconds=1.0,
        cached=False,
        directory="x",
        reproduce="x",
    )
    matrix = MatrixRecord(
        base="x",
        series="x",
        profiles=("default",),
        positions=(cell,),
        transitions=(),
        unexpected=(),
    )
    found = json.dumps(record_json(matrix))
    python_that(monkeypatch, tmp_path, f"echo '{found}' >{tmp_path}/matrix.json; exit 1")
    hope = contextlib.nullcontext() if good else pytest.raises(InfrastructureError, match="at 4")
    with hope:
        run_matrix(target_from_settings(lambda _name: None), tmp_path)


# -- selftests -----------------------------------------------------------------------------


@pytest.mark.parametrize(("passed", "good"), [(4, True), (2, False)])
def test_selftests_count_when_all_of_them_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: int, good: bool
) -> None:
    found = json.dumps({"counts": {"passed": passed}})
    asked = tmp_path / "asked"
    python_that(monkeypatch, tmp_path, f"echo \"$@\" >{asked}; echo '{found}' >{tmp_path}/run.json")
    target = target_from_settings({"position": "0", "profile": "debug"}.get)
    hope = contextlib.nullcontext() if good else pytest.raises(InfrastructureError, match="2 of 4")
    with hope:
        run_selftests(target, tmp_path)
    words = asked.read_text().split()
    assert {"--position=0", "--profile=debug"} <= set(words)
    test = ast.parse(Path(words[words.index("--") + 1]).read_text())
    (across,) = (
        node
        for node in test.body
        if isinstance(node, ast.FunctionDef) and node.name == words[words.index("-k") + 1]
    )
    strings = [node.value for node in ast.walk(across) if isinstance(node, ast.Constant)]
    assert set(SELFTESTS) <= set(strings)


def test_selftests_that_fail_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python_that(monkeypatch, tmp_path, "echo 1 failed; exit 1")
    with pytest.raises(InfrastructureError, match="run ended with status 1: 1 failed"):
        run_selftests(target_from_settings(lambda _name: None), tmp_path)


@pytest.mark.parametrize("has", [True, False])
def test_selftests_fail_the_benchmark_only_where_the_kernel_has_them(has: bool) -> None:
    pipeline = mock.Mock()
    pipeline.build.return_value.features = frozenset(["selftest-stress"] if has else [])
    assert selftests_gauge(pipeline).foreign is not has


# -- other tools ---------------------------------------------------------------------------


def test_first_command_is_timed_although_the_tool_reports_a_failure(tmp_path: Path) -> None:
    vng = tmp_path / "vng"
    vng.write_text("#!/bin/sh\nsleep 0.1; echo booting; echo $2; sleep 0.5; exit 255\n")
    vng.chmod(0o755)
    seconds = seconds_to_first_command([vng, "echo", "the-first-command-has-run"], tmp_path)
    assert 0.1 <= seconds < 0.5


@pytest.mark.parametrize(("accel", "without"), [("kvm", False), ("tcg", True)])
def test_virtme_ng_gets_our_machine_and_our_accelerator(accel: str, without: bool) -> None:
    build, profile = mock.Mock(image=Path("bzImage")), SUITE.profile("virtme")
    words = vng_argv(Path("vng"), build, profile, accel=accel)
    assert words[:4] == [Path("vng"), "--verbose", "--run", Path("bzImage")]
    assert words[4:8] == ["--cpus", "2", "--memory", "768M"]
    assert ("--disable-kvm" in words) is without
    assert words[-2] == "--"


def test_tool_that_runs_no_command_is_an_error(tmp_path: Path) -> None:
    vng = tmp_path / "vng"
    vng.write_text("#!/bin/sh\necho panic\n")
    vng.chmod(0o755)
    with pytest.raises(InfrastructureError, match="no command: panic"):
        seconds_to_first_command([vng], tmp_path)


def test_missing_tool_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("benchmarks.rivals.command.which", lambda _name: None)
    with pytest.raises(InfrastructureError, match="virtme-ng is not installed"):
        find_vng()


SLEEPY = dataclasses.replace(X86_64, qemu="sleep")
"""An architecture with another program in the place of QEMU."""


def script_of(vmtest: Vmtest, tree: Path, text: str) -> Path:
    """Put a script in the place of the kernel's."""
    script = tree / vmtest.script
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    return script


def vmtest(tmp_path: Path, text: str, *words: str) -> tuple[float, float]:
    """Run a script in the place of vmtest.sh, and another program in that of QEMU."""
    return run_vmtest(
        (script_of(KHO_VMTEST, tmp_path, text), *words),
        tmp_path / "objects",
        tmp_path / "logs",
        arch=SLEEPY,
        program="sleep",
        accel="tcg",
        ccache=tmp_path,
        timeout_s=60,
    )


def test_vmtest_times_qemu_apart_from_make(tmp_path: Path) -> None:
    qemu, whole = vmtest(tmp_path, "/bin/sleep 0.2; sleep 0.1; echo ok 1 KHO succeeded")
    assert 0.1 <= qemu < 0.3
    assert whole >= 0.3


def test_vmtest_is_asked_for_a_test(tmp_path: Path) -> None:
    vmtest(tmp_path, f'sleep 0; echo "$@" >{tmp_path}/asked; echo ok 1', "-T", "luo_x")
    asked = (tmp_path / "asked").read_text()
    words = f"-d {tmp_path}/objects -j {os.cpu_count()} -t {SLEEPY.name} -T luo_x"
    assert asked == f"{words}\n"


def test_vmtest_of_another_architecture_is_cross_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    vmtest(tmp_path, f'sleep 0; echo "$CROSS_COMPILE" >{tmp_path}/asked; echo ok 1')
    assert (tmp_path / "asked").read_text() == f"{SLEEPY.cross}\n"


@pytest.mark.parametrize("line", ["not ok 1 KHO failed", "ok 1 # SKIP no KVM", "make: error"])
def test_vmtest_that_does_not_pass_is_an_error(tmp_path: Path, line: str) -> None:
    with pytest.raises(InfrastructureError, match="did not pass"):
        vmtest(tmp_path, f"sleep 0; echo '{line}'")


def test_tree_of_vmtest_is_its_own_and_follows(tmp_path: Path) -> None:
    repo = tmp_path / "src"
    repo.mkdir()
    git(repo, "init", "-q")
    commits = []
    for text in ("one", "two"):
        (repo / "file").write_text(text)
        git(repo, "add", "file")
        git(repo, "commit", "-qm", text)
        commits.append(git(repo, "rev-parse", "HEAD").stdout.strip())
    tree = own_tree(repo, commits[0])
    assert ((tree / "file").read_text(), (repo / "file").read_text()) == ("one", "two")
    assert own_tree(repo, commits[1]) == tree
    assert (tree / "file").read_text() == "two"
    shutil.rmtree(tree)
    assert (own_tree(repo, commits[0]) / "file").read_text() == "one"


def test_tree_without_vmtest_is_said(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"has no liveupdate/vmtest\.sh"):
        run_vmtest(
            *((tmp_path / LUO_VMTEST.script,), tmp_path, tmp_path),
            arch=SLEEPY,
            program="sleep",
            accel="tcg",
            ccache=tmp_path,
            timeout_s=1,
        )


def test_figures_of_several_tests_are_their_sum(tmp_path: Path) -> None:
    repo = tmp_path / "work" / "src"
    repo.mkdir(parents=True)
    git(repo, "init", "-q")
    text = f'sleep 0.1; for test; do :; done; echo $test >>{tmp_path}/asked; echo "ok 1 $test"'
    script_of(LUO_VMTEST, repo, text)
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "one")
    pipeline = mock.MagicMock()
    pipeline.source.repo, pipeline.store.ccache = repo, tmp_path
    pipeline.position.return_value.commit = "HEAD"
    pipeline.arch, pipeline.qemu = SLEEPY, "sleep"
    gauge = vmtest_gauge(pipeline, LUO_VMTEST)
    assert gauge.prepare is not None
    (figure, whole) = take([gauge], tmp_path / "logs", runs=1, progress=print)
    assert (figure.error, figure.name) == (None, "luo_vmtest")
    assert (tmp_path / "asked").read_text().split() == [SELFTESTS[0], *SELFTESTS]
    assert 0.4 <= figure.median <= whole.median


# -- what is left behind -------------------------------------------------------------------


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    for name in ("temporary", "cache/objects/build", "cache/tmp", "cache/locks"):
        (tmp_path / name).mkdir(parents=True)
    return Watch(tmp_path / "temporary", tmp_path / "cache")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.soak.SETTLE_S", 0.2)


def test_nothing_is_left_where_nothing_was_done(watch: Watch) -> None:
    assert (watch.look(), watch.left) == (0, {})


@pytest.mark.parametrize("where", ["temporary/x", "cache/objects/build/x", "cache/tmp/x"])
def test_file_that_is_left_is_noticed(watch: Watch, tmp_path: Path, where: str) -> None:
    (tmp_path / where).touch()
    assert (watch.look(), watch.left) == (1, {"files": 1})


def test_descriptor_that_is_left_is_noticed_until_it_is_closed(watch: Watch) -> None:
    with socket.socket():
        with socket.socket():
            assert (watch.look(), watch.left) == (2, {"descriptors": 2})
        assert (watch.look(), watch.left) == (1, {"descriptors": 2}), "the most that was seen"
    assert (watch.look(), watch.left) == (0, {"descriptors": 2})


def test_process_that_is_left_is_noticed(watch: Watch) -> None:
    child = os.posix_spawn("/bin/sleep", ["sleep", "5"], {})
    try:
        assert (watch.look(), watch.left) == (1, {"processes": 1})
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_orphan_that_names_our_directory_is_noticed(watch: Watch, tmp_path: Path) -> None:
    words = f"{sys.executable} -c 'import time; time.sleep(9)' {tmp_path / 'temporary'}"
    started = subprocess.run(
        ["sh", "-c", f"{words} >/dev/null 2>&1 & echo $!"], capture_output=True, check=True
    )
    orphan = int(started.stdout)
    try:
        assert (watch.look(), watch.left) == (1, {"processes": 1})
    finally:
        os.kill(orphan, 9)


def test_thread_that_is_left_is_noticed(watch: Watch) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert (watch.look(), watch.left) == (1, {"threads": 1})
    finally:
        stop.set()
        thread.join()


def test_soak_counts_after_every_clone(watch: Watch, tmp_path: Path) -> None:
    class Machine(contextlib.AbstractContextManager["Machine"]):
        def __enter__(self) -> Machine:
            return self

        def __exit__(self, *_exc: object) -> None: ...

        def must(self, *_words: object) -> None: ...

    def clone(_logs: Path) -> Machine:
        (tmp_path / "cache" / "tmp" / str(time.monotonic_ns())).touch()
        return cast(Machine, Machine())

    said: list[Progress] = []
    left = soak_clones(clone, tmp_path, tmp_path / "cache", said.append, times=3)
    assert left == [1, 2, 3]
    assert [str(each) for each in said] == ["soak: 3 of 3 clones, left behind: 3 files"]


def test_temporary_files_go_back_to_where_they_were(tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    with private_temporary(tmp_path) as directory:
        assert Path(tempfile.mkdtemp()).parent == directory
    assert tempfile.gettempdir() == before
    assert not directory.exists()
