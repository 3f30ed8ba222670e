# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the harness in a place of their own, what is left of them, and what they came to."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from harness.base.spec import CONFIGS_DIR, PROJECT_ROOT
from harness.kernel.download import package_places
from harness.run.pipeline import Pipeline

HERE = Path(__file__).parent

DEADLINE_S = 240.0
"""Seconds for one run; it only ends what hangs."""

_TIMEOUT_SCALE = 0.2
"""Of a guest's deadlines: a hang is to be noticed in seconds."""

_GONE_S = 20.0
"""How long processes may take to end after the run has: those that the kernel kills or tells to."""


# -- the place -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Place:
    """A cache, a history and a suite that no other run uses.

    :param top: all of it is below.
    """

    top: Path

    @property
    def cache(self) -> Path:
        return self.top / "cache"

    @property
    def suite(self) -> Path:
        return self.top / "suite"

    @property
    def history(self) -> Path:
        return self.top / "history.sqlite"

    @property
    def downloads(self) -> Path:
        return self.top / "downloads"

    def entries(self, kind: str) -> list[Path]:
        """Return the directories of the cache's entries of a kind."""
        return sorted((self.cache / "objects" / kind).glob("*"))


def make_place(top: Path, pipeline: Pipeline) -> Place:
    """Make a place with what a run needs and cannot make in seconds, of the pipeline's cache.

    Nothing in it is the cache's own file: what is damaged here is whole there.
    """
    place = Place(top)
    build = pipeline.build()
    shared = pipeline.store.root
    source = pipeline.source.repo
    for entry in (build.image.parent, pipeline.image(build).initrd.parent):
        shutil.copytree(entry, place.cache / entry.relative_to(shared))
    for entry in shared.glob("objects/accel/*"):  # none on a host without /dev/kvm
        shutil.copytree(entry, place.cache / entry.relative_to(shared))
    _borrow(source, place.cache / source.relative_to(shared))
    place.downloads.mkdir()
    package = pipeline.target.kernel.package
    if package is not None:
        for directory in package_places(pipeline.store):
            if (directory / package.filename).is_file():
                shutil.copy(directory / package.filename, place.downloads)
                break
    _make_suite(place.suite)
    return place


def _borrow(repo: Path, copy: Path) -> None:
    """Make a repository with the commits of another, whose objects it reads where they are."""
    git = copy / ".git"
    git.mkdir(parents=True)
    for name in ("HEAD", "config", "packed-refs", "harness-ready"):
        if (repo / ".git" / name).exists():
            shutil.copy(repo / ".git" / name, git / name)
    shutil.copytree(repo / ".git" / "refs", git / "refs")
    (git / "objects" / "info").mkdir(parents=True)
    (git / "objects" / "info" / "alternates").write_text(f"{repo / '.git' / 'objects'}\n")


def _make_suite(directory: Path) -> None:
    """Write the shipped suite with the battery's tests, and with short deadlines for guests."""
    suite = yaml.safe_load((PROJECT_ROOT / "suite.yaml").read_text())
    profile = yaml.safe_load((CONFIGS_DIR / "profiles.yaml").read_text())["default"]
    profile["timeout_scale"] = _TIMEOUT_SCALE
    for name in ("series", "support", "image", "known_issues"):
        suite[name] = str(PROJECT_ROOT / suite[name])
    suite["verbs"] = [str(PROJECT_ROOT / verb) for verb in suite["verbs"]]
    for module in suite["modules"]:
        module["source"] = str(PROJECT_ROOT / module["source"])
    for name in ("mutants", "fixes", "mutation", "compat", "coverage"):
        del suite[name]
    suite |= {"tests": str(HERE / "guest"), "profiles": {"default": profile}, "matrix": ["default"]}
    directory.mkdir()
    (directory / "suite.yaml").write_text(yaml.safe_dump(suite))


# -- a run -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Note:
    """What a test said: where it is, and its machine's QEMU."""

    test: str
    moment: str
    pid: int


class Run:
    """One run of the harness, a process; use as a context manager: nothing of it is left.

    :param plan: the tests of the run, and at which moment each of them is disturbed.
    :param wrapper: words before those of the harness, which end with its exit code.
    :param results: where they go; the wrapper brings them back to :attr:`kept`.
    """

    def __init__(
        self,
        place: Place,
        directory: Path,
        plan: Mapping[str, str],
        *,
        command: str = "run",
        words: Sequence[str] = (),
        pytest: Sequence[str] = (),
        wrapper: Sequence[str | Path] = (),
        env: Mapping[str, str] | None = None,
        results: Path | None = None,
    ) -> None:
        self.place = place
        self.directory = directory
        self.plan = dict(plan)
        self.token = f"{uuid.uuid4()}"
        directory.mkdir(parents=True)
        self.tmp = directory / "tmp"
        self.tmp.mkdir()
        self.kept = directory / "results"
        self.results = results or self.kept
        self.log = directory / "log"
        self.mounts = _mounts()
        argv = [*wrapper, sys.executable, "-m", "harness", command, "--suite", place.suite, *words]
        if command == "run":
            argv += ["--results", self.results, "--", "-v", *pytest]
        self.argv = [str(word) for word in argv]
        if results is not None:
            self.kept.mkdir()
        self._env = {"KEPT": str(self.kept), **(env or {})}
        self.started = 0.0

    def __enter__(self) -> Run:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HARNESS_", "PYTEST_"))}
        env = kept | {
            "PYTHONPATH": str(PROJECT_ROOT),
            "HARNESS_CACHE": str(self.place.cache),
            "HARNESS_HISTORY": str(self.place.history),
            "HARNESS_DOWNLOADS": str(self.place.downloads),
            "TMPDIR": str(self.tmp),
            "FAULTS_DIR": str(self.directory),
            "FAULTS": json.dumps(self.plan),
            "FAULTS_TOKEN": self.token,
        }
        self.started = time.monotonic()
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                self.argv,
                env=env | self._env,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_heed_interrupts,
            )
        return self

    def __exit__(self, *_exc: object) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    # -- while it runs ---------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def notes(self) -> list[Note]:
        """Return what the tests have said so far."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.directory / "notes").read_text().splitlines(keepends=True)
            return [Note(**json.loads(line)) for line in lines if line.endswith("\n")]
        return []

    def wait_for(self, test: str, moment: str) -> Note | None:
        """Wait until a test is at a moment; ``None`` when the run, or the test, ends before."""
        while self.running and self.left_s() > 0:
            notes = self.notes()
            for note in notes:
                if (note.test, note.moment) == (test, moment):
                    return note
            if any(note.test == test and note.moment == "end" for note in notes):
                return None
            time.sleep(0.02)
        return None

    def tell(self, test: str) -> None:
        """Tell a test that it was disturbed."""
        (self.directory / test).touch()

    def left_s(self) -> float:
        return self.started + DEADLINE_S - time.monotonic()

    def processes(self) -> dict[int, list[str]]:
        """Return the run's processes that have not ended, with their command lines."""
        found = {}
        needle = f"FAULTS_TOKEN={self.token}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if needle in (process / "environ").read_bytes().split(b"\0"):
                    words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    found[int(process.name)] = words
        return found

    def qemus(self) -> list[int]:
        """Return the QEMUs that run a machine, the newest last."""
        return sorted(
            pid
            for pid, words in self.processes().items()
            if "qemu-system" in words[0] and "-nodefaults" in words
        )

    def who(self, name: str) -> list[int]:
        """Return the processes of that name in :class:`faults_table.Signalled`."""
        if name == "harness":
            return [self.process.pid]
        wanted = {
            "python": sys.executable,
            "pytest": "pytest",
            "worker": "import sys;exec(eval(sys.stdin.readline()))",
        }[name]
        return sorted(pid for pid, words in self.processes().items() if wanted in words)

    # -- its end -----------------------------------------------------------------------------

    def wait(self) -> int:
        """Return its exit code.

        :raises AssertionError: when it does not end.
        """
        try:
            return self.process.wait(max(1.0, self.left_s()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the run did not end within {DEADLINE_S:.0f} s") from None

    def outcomes(self) -> dict[str, str]:
        """Return what its tests came to, by their names in the plan; empty without results."""
        file = self.kept / "results.json"
        if not file.exists():
            return {}
        tests = json.loads(file.read_text())["tests"]
        return {test["id"].rpartition("[")[2].rstrip("]"): test["outcome"] for test in tests}

    def leftovers(self, *, killed: bool = False) -> list[str]:
        """Say what is left of it: processes, mounts, temporary files, entries in the making.

        :param killed: the harness itself was killed, and could not remove its files.
        """
        deadline = time.monotonic() + _GONE_S
        while (processes := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        left = [f"process {pid}: {' '.join(words)[:200]}" for pid, words in processes.items()]
        left += [f"mount {line}" for line in _mounts() if line not in self.mounts]
        if not killed:
            # What pytest-xdist gives its workers, pytest itself keeps.
            files = [path for path in self.tmp.iterdir() if not path.name.startswith("pytest-of-")]
            left += [f"temporary file {path}" for path in files]
            left += [f"in the making: {path}" for path in (self.place.cache / "tmp").iterdir()]
        return left

    def said(self) -> str:
        """Return its output."""
        return self.log.read_text(errors="replace")


def _heed_interrupts() -> None:
    """Let a run be interrupted even where the battery ignores it: in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _mounts() -> list[str]:
    return Path("/proc/self/mounts").read_text().splitlines()


@contextlib.contextmanager
def explained(run: Run, seed: str, faults: object) -> Iterator[None]:
    """Say with a failure what is needed to see it again."""
    try:
        yield
    except AssertionError as error:
        with contextlib.suppress(AssertionError):
            run.wait()  # for what it says of its tests, which may be why
        facts = {
            "exit code": run.process.poll(),
            "seed": seed,
            "faults": faults,
            "plan": run.plan,
            "outcomes": run.outcomes(),
            "ran": run.argv,
        }
        lines = "\n".join(f"{name}: {value}" for name, value in facts.items())
        said = run.said()[-6000:]
        raise AssertionError(f"{error}\n{lines}\n---- the harness said:\n{said}") from error
