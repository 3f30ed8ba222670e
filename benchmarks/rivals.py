# SPDX-License-Identifier: GPL-2.0-only
"""What other tools take for the same, measured beside ours.

virtme-ng (``vng``) boots a kernel on the host's own root file system.  ``kho/vmtest.sh`` is the
kernel's own test of a kexec with handover, in QEMU; ``liveupdate/vmtest.sh`` is that of live
updates, one program a run.  None is changed, and none has to be there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import SELFTESTS, boot_gauge
from benchmarks.gauge import Gauge, Values
from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import CommandError, InfrastructureError
from harness.base.spec import ProfileSpec
from harness.kernel.build import KernelBuild
from harness.kernel.source import git
from harness.run.pipeline import Pipeline

PROFILE = "virtme"
"""The profile of the kernel that virtme-ng and we boot."""

VNG_S = 300.0
"""Seconds for one run of virtme-ng."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vmtest:
    """One of the kernel's own tests in QEMU.

    :param figures: what it is called here: QEMU's time, and all of it.
    :param script: where it is in the kernel's tree.
    :param objdir: name of its build directory, beside the tree.
    :param tests: what it is asked for in one run each; empty for a script of one test.
    """

    figures: tuple[str, str]
    script: Path
    objdir: str
    tests: tuple[str, ...] = ()


KHO_VMTEST = Vmtest(
    figures=("vmtest", "vmtest_whole"),
    script=Path("tools/testing/selftests/kho/vmtest.sh"),
    objdir="obj-vmtest",
)

LUO_VMTEST = Vmtest(
    figures=("luo_vmtest", "luo_vmtest_whole"),
    script=Path("tools/testing/selftests/liveupdate/vmtest.sh"),
    objdir="obj-vmtest-liveupdate",
    tests=SELFTESTS,
)
"""What ``run-vmtests.sh`` beside it runs, which knows no build directory but its own."""

VMTEST_S = 600.0
"""Seconds for one run of it once its kernel is built; that gets :data:`VMTEST_BUILD_S`."""

VMTEST_BUILD_S = 3600.0

_CCACHE = Path("/usr/lib/ccache")
"""Where Debian's ccache has links that are called as compilers are."""


# -- virtme-ng -----------------------------------------------------------------------------


def virtme_gauges(pipeline: Pipeline) -> tuple[Gauge, ...]:
    """Return what boots one kernel with virtme-ng, and what boots it as we do.

    :param pipeline: of the profile :data:`PROFILE`.
    """

    def measure(logs: Path) -> Values:
        build, accel = pipeline.build(), pipeline.accel.name
        argv = vng_argv(find_vng(), build, pipeline.profile, accel=accel)
        return {"virtme_ng_boot": (seconds_to_first_command(argv, logs),)}

    def prepare(_logs: Path) -> None:
        find_vng()
        pipeline.build()

    ours = boot_gauge("boot_virtme_kernel", lambda logs: pipeline.machine(pipeline.build(), logs))
    return (
        ours,
        Gauge(figures=("virtme_ng_boot",), measure=measure, prepare=prepare, foreign=True),
    )


def find_vng() -> Path:
    """Return where ``vng`` is: beside this Python, or on ``PATH``.

    :raises InfrastructureError: when it is nowhere.
    """
    beside = Path(sys.executable).parent / "vng"
    found = beside if beside.exists() else command.which("vng")
    if found is None:
        raise InfrastructureError(
            "virtme-ng is not installed (scripts/bench installs it; or pip install virtme-ng)"
        )
    return found


def vng_argv(
    vng: Path, build: KernelBuild, profile: ProfileSpec, *, accel: str
) -> list[str | Path]:
    """Return the command line that boots *build* and runs a command; pure.

    Its console is asked for: without udev on the host, the guest finds no other way to it.
    """
    argv: list[str | Path] = [vng, "--verbose", "--run", build.image]
    argv += ["--cpus", str(profile.cpus), "--memory", f"{profile.memory_mib}M"]
    argv += ["--disable-kvm"] * (accel != "kvm")
    return [*argv, "--", f"echo {_SAID}; sleep 1"]


_SAID = "the-first-command-has-run"
"""A guest that powers off at once may lose what its console has not sent yet, so it sleeps."""


def seconds_to_first_command(argv: list[str | Path], logs: Path) -> float:
    """Run virtme-ng; return the seconds until its command's line arrives.

    :raises InfrastructureError: when it never does.
    """
    # The programs of virtme-ng call each other by name.
    path = f"{Path(argv[0]).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    seen: list[float] = []
    log_file = logs / "vng.log"

    def on_line(line: str) -> None:
        if _SAID in line:
            seen.append(time.monotonic())

    started = time.monotonic()
    # Without udev it does not learn how the command ended, and reports a failure.
    command.run(
        argv,
        timeout_s=VNG_S,
        env={"PATH": path},
        log_file=log_file,
        on_line=on_line,
        check=False,
    )
    if not seen:
        said = log_file.read_text(errors="replace").strip().splitlines()
        raise InfrastructureError(f"vng ran no command: {said[-1] if said else 'it said nothing'}")
    return seen[0] - started


# -- vmtest.sh -----------------------------------------------------------------------------


def vmtest_gauge(pipeline: Pipeline, vmtest: Vmtest) -> Gauge:
    """Return what runs one of the kernel's own tests, all that it is asked for.

    It configures and builds a kernel of its own, which is kept; make only looks at it in the runs
    that count.  How long QEMU runs is noted by a program of QEMU's name that comes first on
    ``PATH``.
    """

    def run(logs: Path, tests: tuple[str, ...], timeout_s: float) -> Values:
        source, commit = pipeline.source, pipeline.position().commit
        # Its first build takes longer than others should have to wait for the tree.
        arch = pipeline.arch
        objects = source.repo.parent / (vmtest.objdir + (f"-{arch.name}" if arch.prefix else ""))
        with (
            pipeline.store.lock(f"{source.lock}-vmtest", waiting="it runs vmtest.sh"),
            pipeline.store.using(objects),
        ):
            tree = own_tree(source.repo, commit)
            seconds = [
                run_vmtest(
                    (tree / vmtest.script, *(("-T", test) if test else ())),
                    objects,
                    logs / (test or "logs"),
                    arch=arch,
                    program=pipeline.qemu,
                    accel=pipeline.accel.name,
                    ccache=pipeline.store.ccache,
                    timeout_s=timeout_s,
                )
                for test in tests
            ]
        qemu, whole = (sum(each) for each in zip(*seconds, strict=True))
        return dict(zip(vmtest.figures, ((qemu,), (whole,)), strict=True))

    tests = vmtest.tests or ("",)
    return Gauge(
        figures=vmtest.figures,
        measure=lambda logs: run(logs, tests, VMTEST_S),
        prepare=lambda logs: run(logs, tests[:1], VMTEST_BUILD_S),
        runs=3,
        foreign=True,
    )


def own_tree(repo: Path, commit: str) -> Path:
    """Return a work tree of *repo* at *commit* that nobody else uses, beside it."""
    tree = repo.parent / "src-vmtest"
    if (tree / ".git").exists():
        git(tree, "checkout", "--quiet", "--force", "--detach", commit)
    else:
        shutil.rmtree(tree, ignore_errors=True)
        git(repo, "worktree", "prune")
        git(repo, "worktree", "add", "--quiet", "--detach", str(tree), commit)
    return tree


def run_vmtest(
    argv: tuple[Path, *tuple[str, ...]],
    objdir: Path,
    logs: Path,
    *,
    arch: Architecture,
    program: str,
    accel: str,
    ccache: Path,
    timeout_s: float,
) -> tuple[float, float]:
    """Run a script; return the seconds of QEMU, and of all of it.

    The caller holds the lock on the script's tree and *objdir*.

    :param argv: the script, and what it is asked for.
    :param arch: the guests' architecture, which says what it calls QEMU.
    :param program: the QEMU that it gets.
    :raises InfrastructureError: when the tree has none, or it does not pass.
    """
    script, *words = argv
    if not script.exists():
        raise InfrastructureError(f"this kernel has no {'/'.join(script.parts[-2:])}")
    programs, noted = logs / "bin", logs / "qemu-seconds"
    _make_stopwatch(programs / arch.qemu, program, noted, accel=accel)
    places = [str(programs), *([str(_CCACHE)] if _CCACHE.is_dir() else [])]
    log_file = logs / "vmtest.log"
    started = time.monotonic()
    command.run(
        [script, "-d", objdir, "-j", str(os.cpu_count() or 1), "-t", arch.name, *words],
        timeout_s=timeout_s,
        env={
            "PATH": os.pathsep.join([*places, os.environ.get("PATH", os.defpath)]),
            "CROSS_COMPILE": arch.prefix,
            "CCACHE_DIR": os.environ.get("CCACHE_DIR", str(ccache)),
            "CCACHE_BASEDIR": str(objdir.parent),
        },
        log_file=log_file,
        check=False,
    )
    whole = time.monotonic() - started
    said = log_file.read_text(errors="replace").splitlines()
    if not any(line.startswith("ok 1") and "# SKIP" not in line for line in said):
        last = [line for line in said if line.startswith(("ok ", "not ok "))] or said[-1:]
        raise InfrastructureError(f"vmtest.sh did not pass: {last[0] if last else 'silence'}")
    return float(noted.read_text()), whole


_STOPWATCH = """\
#!/bin/sh
# Run QEMU and note how long it took.
{kvm}started=$(date +%s.%N)
{qemu} "$@"
status=$?
echo "$(date +%s.%N) - $started" | bc >{noted}
exit $status
"""

_WITHOUT_KVM = """\
for word in "$@"; do
	shift
	[ "$word" = kvm ] && word=tcg
	set -- "$@" "$word"
done
"""
"""A KVM that opens and does not work would end the test."""


def _make_stopwatch(stopwatch: Path, qemu: str, noted: Path, *, accel: str) -> None:
    """Write *stopwatch*, a program that runs *qemu*.

    :raises CommandError: when there is no QEMU.
    """
    real = command.which(qemu)
    if real is None:
        raise CommandError(f"program not found: {qemu}", argv=(qemu,))
    stopwatch.parent.mkdir(parents=True)
    text = _STOPWATCH.format(
        kvm="" if accel == "kvm" else _WITHOUT_KVM,
        qemu=shlex.quote(str(real)),
        noted=shlex.quote(str(noted)),
    )
    stopwatch.write_text(text)
    stopwatch.chmod(0o755)
