# SPDX-License-Identifier: GPL-2.0-only
"""Whatever befalls a run, its verdict is right and nothing is left of it.

Each case is a real run of ``harness run`` in a process of its own, with guests in QEMU, in which
the faults of ``faults_table.py`` are injected.  After each: the right exit code and outcomes, no
process, mount or temporary file left, and another run that comes to the same as ever.

``FAULTS_WHOLE=1`` asks for all of them instead of a few; ``FAULTS_SEED`` for those of another run.
"""

from __future__ import annotations

import contextlib
import enum
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from battery import HERE, Place, Run, explained, make_place
from faults_table import (
    DAMAGES,
    DIED,
    FULL,
    FULL_CODES,
    HOST_CLOCK,
    IN_GUESTS,
    LOST,
    SIGNALS,
    Damaged,
    Full,
    HostClock,
    InGuest,
    Signalled,
)
from harm import GONE, MOST_DELAY_S, harm

from harness.kernel.build import KernelBuild
from harness.run.pipeline import Pipeline

pytestmark = [pytest.mark.machinery, pytest.mark.profiles("default")]

WHOLE = os.environ.get("FAULTS_WHOLE") == "1"
SEED = os.environ.get("FAULTS_SEED") or str(random.SystemRandom().randrange(10**6))

AT_ONCE = 5
"""Faults in one run, where a run goes on after them."""

UNDISTURBED = {"first-0": "", "update-0": ""}
QUICK = {"first-0": ""}


def drawn(*words: object) -> random.Random:
    """Return the random numbers of one case: the same for the same seed."""
    return random.Random(  # noqa: S311 - it is to be reproduced
        f"{SEED} {' '.join(str(word) for word in words)}"
    )


def expanded(rows: Sequence[object]) -> list[object]:
    """Return each row as often as it is to be injected, in an order of the seed's."""
    found = [row for row in rows for _ in range(row.whole if WHOLE else row.short)]
    drawn("order").shuffle(found)
    return found


def cases(rows: Sequence[object]) -> list[object]:
    """Return parameters, one for each injection."""
    return [pytest.param(row, n, id=f"{n}") for n, row in enumerate(expanded(rows))]


def batches() -> list[object]:
    """Return faults of guests, several for one run; those of hosts and kernels in runs apart."""
    found = []
    for kind, rows in (
        ("host", [row for row in IN_GUESTS if not row.test & DIED]),
        ("kernel", [row for row in IN_GUESTS if row.test & DIED]),
    ):
        all_rows = expanded(rows)
        for n, start in enumerate(range(0, len(all_rows), AT_ONCE)):
            found.append(pytest.param(all_rows[start : start + AT_ONCE], id=f"{kind}-{n}"))
    return found


# -- what all cases have in common -----------------------------------------------------------


@dataclass(frozen=True)
class Battery:
    """The place, and what an undisturbed run in it comes to."""

    place: Place
    top: Path
    usual_s: float

    def run(self, name: str, plan: dict[str, str], **how: object) -> Run:
        """Return a run that is not started; its directory has a name that no other has."""
        number = len(list(self.top.iterdir()))
        return Run(self.place, self.top / f"{number:03}-{name}", plan, **how)

    def check_next(self, *, whole: bool = True) -> None:
        """Prove that a run works as if nothing had happened."""
        plan = UNDISTURBED if whole else QUICK
        with self.run("next", plan) as run, explained(run, SEED, "none: the run after them"):
            assert run.wait() == 0
            assert run.outcomes() == dict.fromkeys(plan, "passed")
            assert run.leftovers() == []
        shutil.rmtree(run.directory)


@pytest.fixture(scope="session")
def battery(
    pipeline: Pipeline, kernel: KernelBuild, tmp_path_factory: pytest.TempPathFactory
) -> Battery:
    print(f"FAULTS_SEED={SEED}")
    top = tmp_path_factory.mktemp("faults")
    place = make_place(top / "place", pipeline)
    (top / "runs").mkdir()
    usual = 0.0
    # The first one boots, and makes the template.
    for _ in range(2):
        with Run(place, top / "runs" / f"usual-{usual}", UNDISTURBED) as run:
            with explained(run, SEED, "none: the run before them"):
                assert run.wait() == 0
                assert run.outcomes() == dict.fromkeys(UNDISTURBED, "passed")
                assert run.leftovers() == []
            usual = time.monotonic() - run.started
    return Battery(place, top / "runs", usual)


def check_honest(run: Run, code: int, codes: frozenset[int], *, own: bool = True) -> None:
    """Check that a run's word is right: exit code and outcomes are of each other.

    :param own: whether all that it printed is its own; pytest-xdist shows where it was interrupted.
    """
    outcomes = run.outcomes()
    assert code in codes, f"exit code {code}, not one of {sorted(codes)}"
    blamed = {name: outcome for name, outcome in outcomes.items() if outcome in DIED}
    assert not blamed, f"the kernel is blamed: {blamed}"
    if code == 0:
        assert outcomes == dict.fromkeys(run.plan, "passed"), "a pass where not all was run"
    assert not own or "Traceback (most recent call last)" not in run.said()


# -- faults of guests and QEMU ---------------------------------------------------------------


@pytest.mark.parametrize("faults", batches())
def test_machine_is_harmed(battery: Battery, faults: list[InGuest]) -> None:
    rng = drawn("machine", *faults)
    plan: dict[str, str] = {}
    rows: dict[str, InGuest] = {}
    for n, row in enumerate(faults):
        kind = "first" if row.moment in ("start", "first") else "update"
        name = f"{kind}-{n}"
        plan[name], rows[name] = row.moment, row
    delays = {name: rng.uniform(0.0, MOST_DELAY_S[moment]) for name, moment in plan.items()}
    with battery.run("machine", plan) as run, explained(run, SEED, (faults, delays)):
        known: list[int] = []
        for name in plan:
            inject(run, name, rows[name], delays[name], known, battery.place, rng)
        code = run.wait()
        outcomes = run.outcomes()
        assert set(outcomes) == set(plan)
        for name, row in rows.items():
            assert outcomes[name] in row.test, f"{name}: {row.what} in {row.moment}"
        assert code == expected_code(outcomes)
        assert run.leftovers() == []
        assert "Traceback (most recent call last)" not in run.said()
    battery.check_next()


def inject(
    run: Run,
    name: str,
    row: InGuest,
    delay_s: float,
    known: list[int],
    place: Place,
    rng: random.Random,
) -> None:
    """Wait for the moment of a fault, and harm the machine that its test has then."""
    note = run.wait_for(name, row.moment)
    assert note is not None, f"{name} never came to {row.moment}"
    pid = note.pid
    if row.moment == "start":
        pid = wait_for_qemu(run, name, known)
    try:
        harm(
            row.what,
            pid,
            keys=place.cache / "keys",
            delay_s=delay_s,
            random=rng,
            tell=lambda: run.tell(name),
        )
    except GONE:
        if row.moment not in ("start", "jump"):
            raise
    run.tell(name)
    if row.test != frozenset({"passed"}):  # else the next test goes on with this machine
        known.append(pid)


def wait_for_qemu(run: Run, name: str, known: list[int]) -> int:
    """Return the QEMU of a test that may have no machine yet; *known* are those of lost ones."""
    while run.running and run.left_s() > 0:
        new = [pid for pid in run.qemus() if pid not in known]
        if new:
            return new[-1]
        time.sleep(0.01)
    raise AssertionError(f"{name} never had a QEMU")


def expected_code(outcomes: dict[str, str]) -> int:
    """Return the exit code of a run with these outcomes."""
    if DIED & set(outcomes.values()):
        return 1
    return 3 if LOST & set(outcomes.values()) else 0


# -- signals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "number"), cases(SIGNALS))
def test_process_is_signalled(battery: Battery, row: Signalled, number: int) -> None:
    rng = drawn("signal", row, number)
    several = row.who == "worker"
    plan = {"first-0": "", "update-0": "", "first-1": ""}
    moment_s = rng.uniform(0.0, battery.usual_s * (1.5 if several else 1.2))
    workers = ["-n", "2"] if several else []
    run = battery.run("signal", plan, pytest=workers)
    with run, explained(run, SEED, (row, f"after {moment_s:.2f} s")):
        time.sleep(moment_s)
        met = signal_one(run, row, rng)
        code = run.wait()
        if met is Met.EARLY:
            # The interpreter still starts, and nothing of the harness has run.
            assert code in row.codes | {-signal.Signals[row.signal]}
        else:
            may_be_whole = met is Met.LATE or row.who == "worker"
            codes = row.codes | ({0} if may_be_whole else set())
            check_honest(run, code, codes, own=row.who == "harness")
        assert run.leftovers(killed=row.signal == "SIGKILL") == []
    battery.check_next(whole=False)


class Met(enum.Enum):
    """What of the run a signal met."""

    EARLY = enum.auto()
    TESTS = enum.auto()
    LATE = enum.auto()


def signal_one(run: Run, row: Signalled, rng: random.Random) -> Met:
    """Send the signal as soon as there is such a process."""
    while run.running and run.left_s() > 0:
        found = run.who(row.who)
        if found:
            early, late = not run.results.exists(), (run.results / "results.json").exists()
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(found), signal.Signals[row.signal])
            return Met.LATE if late else Met.EARLY if early else Met.TESTS
        time.sleep(0.02)
    return Met.LATE


# -- damaged files ---------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "number"), cases(DAMAGES))
def test_file_is_damaged(battery: Battery, row: Damaged, number: int) -> None:
    rng = drawn("damage", row, number)
    place = battery.place
    tops = {"downloads": [place.downloads], "history": [place.top]}.get(row.kind)
    found = [p for top in tops or place.entries(row.kind) for p in sorted(top.glob(row.file))]
    file = rng.choice([p for p in found if p.is_file() and p.stat().st_size])
    spare = battery.top.parent / "spare"
    shutil.copy2(file, spare)
    said = damage(file, rng)
    try:
        with battery.run("damage", UNDISTURBED) as run, explained(run, SEED, (row, said)):
            code = run.wait()
            check_honest(run, code, row.codes)
            if code != 0:
                assert str(file.parent) in run.said().replace("\n", ""), "it does not say where"
            assert run.leftovers() == []
    finally:
        # What is made anew is whole; of the rest the user was told, and brings it back.
        if row.codes != frozenset({0}) or row.kind == "history":
            shutil.copy2(spare, file)
    battery.check_next(whole=False)


def damage(file: Path, rng: random.Random) -> str:
    """Cut a file or flip a bit of it, at random; say what was done."""
    size = file.stat().st_size
    if rng.random() < 0.5:
        kept = rng.randrange(size)
        os.truncate(file, kept)
        return f"{file}: {kept} of {size} bytes kept"
    offset, bit = data_offset(file, rng.randrange(size)), rng.randrange(8)
    with file.open("r+b") as stream:
        stream.seek(offset)
        (byte,) = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte ^ 1 << bit]))
    return f"{file}: bit {bit} of byte {offset} of {size} flipped"


def data_offset(file: Path, wanted: int) -> int:
    """Return an offset at which a sparse file has data, from *wanted* on if there is any."""
    with file.open("rb") as stream:
        try:
            return os.lseek(stream.fileno(), wanted, os.SEEK_DATA)
        except OSError:
            return os.lseek(stream.fileno(), 0, os.SEEK_DATA)


# -- a full disk -----------------------------------------------------------------------------

WRAPPER = """
mount -t tmpfs -o size="$SIZE" none "$DISK" || exit 99
mkdir "$DISK/tmp" "$DISK/results"
cp -a "$HARNESS_CACHE" "$DISK/cache" || exit 98
[ "$STAGE" != import ] || rm -rf "$DISK/cache/work"
[ "$STAGE" != template ] || rm -rf "$DISK/cache/objects/template"
export HARNESS_CACHE=$DISK/cache TMPDIR=$DISK/tmp
"$@"
code=$?
rm -f "$DISK/filler"
cp -a "$DISK/results/." "$KEPT"
(cd "$DISK" && find tmp cache/tmp -mindepth 1) >"$KEPT/left"
exit $code
"""

# git says no more of it, and QEMU gets SIGBUS where its guest's memory is a file.
FULL_WORDS = re.compile(
    "No space left on device|Out of diskspace|disk is full|unable to write|signal 7", re.I
)

SIZES_MIB = {"tests": 600, "template": 1024, "import": 2048, "build": 3500}
"""What a run of the stage has room for before the disk is filled."""


@pytest.mark.parametrize(("row", "number"), cases(FULL))
def test_disk_is_full(battery: Battery, row: Full, number: int) -> None:
    rng = drawn("full", row, number)
    moment_s = rng.uniform(0.0, row.within_s)
    words = ["--position", "5"] if row.stage == "build" else []
    disk = battery.top.parent / "disk"
    disk.mkdir(exist_ok=True)
    run = battery.run(
        "full",
        UNDISTURBED,
        words=words,
        results=disk / "results",
        wrapper=["unshare", "--map-root-user", "--mount", "sh", "-c", WRAPPER, "sh"],
        env={"DISK": str(disk), "SIZE": f"{SIZES_MIB[row.stage]}m", "STAGE": row.stage},
    )
    with run, explained(run, SEED, (row, f"after {moment_s:.2f} s")):
        inside = wait_for_disk(run, disk)
        time.sleep(moment_s)
        while run.running and run.left_s() > 0:
            fill(inside)
            time.sleep(0.1)
        code = run.wait()
        check_honest(run, code, FULL_CODES)
        if code != 0:
            assert FULL_WORDS.search(run.said()), "it does not say that the disk is full"
        assert (run.kept / "left").read_text().split() == []
        assert run.leftovers() == []
    battery.check_next(whole=False)


def wait_for_disk(run: Run, disk: Path) -> Path:
    """Return the disk as it can be reached from here, once the harness has begun."""
    while run.running and run.left_s() > 0:
        found = run.who("python")
        if found:
            return Path(f"/proc/{run.process.pid}/root{disk}")
        time.sleep(0.02)
    raise AssertionError("there is no disk")


def fill(disk: Path) -> None:
    """Leave no room; the run may have ended."""
    with contextlib.suppress(OSError), (disk / "filler").open("ab") as filler:
        status = os.statvfs(disk)
        room = status.f_bavail * status.f_frsize
        while room >= status.f_frsize:
            try:
                os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), room)
            except OSError:
                # Somebody else was faster, and none of it was taken.
                room //= 2
            else:
                room = os.statvfs(disk).f_bavail * status.f_frsize


# -- the host's clock ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def clock(battery: Battery) -> Path:
    """The library that makes a run see another time than there is."""
    library = battery.top.parent / "clock.so"
    words = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, HERE / "clock.c"]
    subprocess.run(words, check=True)
    return library


@pytest.mark.parametrize(("row", "number"), cases(HOST_CLOCK))
def test_host_clock_jumps(battery: Battery, clock: Path, row: HostClock, number: int) -> None:
    rng = drawn("clock", row, number)
    jumps = [
        (rng.uniform(0.2, battery.usual_s / 2), rng.uniform(-row.most_s, row.most_s))
        for _ in range(3)
    ]
    offset = battery.top.parent / "offset"
    offset.write_bytes(struct.pack("=q", 0))
    env = {"LD_PRELOAD": str(clock), "FAULTS_CLOCK": str(offset)}
    with battery.run("clock", UNDISTURBED, env=env) as run, explained(run, SEED, (row, jumps)):
        for wait_s, by_s in jumps:
            time.sleep(wait_s)
            with offset.open("r+b") as file:
                file.write(struct.pack("=q", int(by_s * 1e9)))
        code = run.wait()
        check_honest(run, code, frozenset({0}))
        assert run.leftovers() == []
    battery.check_next(whole=False)
