# SPDX-License-Identifier: GPL-2.0-only
"""What earlier runs came to: an SQLite file that every run adds to.

``HARNESS_HISTORY`` names the file, else it is below the user's state directory.  Each run is one
transaction, and several may be written at once (write-ahead log, ``busy_timeout``).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from harness import NAME
from harness.base.errors import SpecError
from harness.base.timeouts import HOST
from harness.results.form import from_plain
from harness.results.results import RunResults
from harness.results.trends import BadSince, Flaky, PastFigure, PastRun, PastTest

SCHEMA = 1
"""``PRAGMA user_version`` of the file."""

_TABLES = """
CREATE TABLE runs (
    id        INTEGER PRIMARY KEY,
    at        REAL NOT NULL,
    kind      TEXT NOT NULL,
    release   TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    series    TEXT,
    position  INTEGER,
    profile   TEXT NOT NULL,
    accel     TEXT NOT NULL,
    inputs    TEXT NOT NULL,
    directory TEXT NOT NULL,
    seconds   REAL NOT NULL
);
CREATE TABLE tests (
    run        INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    test       TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    unexpected INTEGER NOT NULL,
    seconds    REAL NOT NULL,
    PRIMARY KEY (run, test)
) WITHOUT ROWID;
CREATE INDEX tests_by_name ON tests (test, run);
CREATE TABLE figures (
    run     INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    unit    TEXT NOT NULL,
    minimum REAL NOT NULL,
    median  REAL NOT NULL,
    maximum REAL NOT NULL,
    runs    INTEGER NOT NULL,
    PRIMARY KEY (run, name)
) WITHOUT ROWID;
"""


def history_file() -> Path:
    """Return where the history is kept."""
    given = os.environ.get("HARNESS_HISTORY")
    return Path(given) if given else platformdirs.user_state_path(NAME) / "history.sqlite"


class History:
    """The history in one file, made when missing; a context manager.

    :raises SpecError: when the file is no history, or one of a newer harness.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or history_file()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=HOST.database_s, isolation_level=None)
            try:
                # Who switches to the write-ahead log does not wait for others: sqlite says
                # "locked" at once, whatever its timeout is.
                with FileLock(f"{self.path}.lock", timeout=HOST.database_s):
                    self._prepare()
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.DatabaseError, OSError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> SpecError:
        return SpecError(
            f"{self.path} cannot be used as the history: {error}",
            hint="move it away, or let HARNESS_HISTORY name another file",
        )

    def _prepare(self) -> None:
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self._transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _TABLES.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
            elif version != SCHEMA:
                raise sqlite3.DatabaseError(f"its schema is {version}, this harness knows {SCHEMA}")

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write at once or not at all; others wait, so that nothing has to be tried again.

        :raises SpecError: when the file is damaged, or the disk full.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # sqlite has done so itself after some of its errors.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError:
            raise  # a mistake of ours
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    # -- writing -----------------------------------------------------------------------------

    def add_run(
        self,
        results: RunResults,
        *,
        directory: Path,
        inputs: str,
        kind: str = "run",
        at: float | None = None,
    ) -> int:
        """Add what a run came to; return its number.

        :param inputs: a key of everything that can change what the tests say: runs with the same
            one should come to the same.
        :param at: in seconds since the epoch; ``None`` is now.
        """
        with self._transaction():
            run = self._add(
                at=time.time() if at is None else at,
                kind=kind,
                release=results.kernel.release,
                commit_id=results.kernel.commit,
                series=results.series.name,
                position=results.series.position,
                profile=results.kind,
                accel=results.accel,
                inputs=inputs,
                directory=str(directory),
                seconds=results.seconds,
            )
            self._db.executemany(
                "INSERT INTO tests VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        run,
                        test.id,
                        test.outcome.value,
                        int(test.is_bad(results.judge)),
                        test.seconds,
                    )
                    for test in results.tests
                ],
            )
        return run

    def add_figures(
        self, figures: Mapping[str, Mapping[str, Any]], *, release: str, accel: str, profile: str
    ) -> int:
        """Add what a benchmark measured (:meth:`benchmarks.bench.Figure.as_json`)."""
        with self._transaction():
            run = self._add(
                at=time.time(),
                kind="bench",
                release=release,
                commit_id="",
                series=None,
                position=None,
                profile=profile,
                accel=accel,
                inputs="",
                directory="",
                seconds=0.0,
            )
            self._db.executemany(
                "INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (run, name, f["unit"], f["min"], f["median"], f["max"], f["runs"])
                    for name, f in figures.items()
                ],
            )
        return run

    def _add(self, **values: object) -> int:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        statement = f"INSERT INTO runs ({columns}) VALUES ({marks})"  # noqa: S608 - our own names
        number = self._db.execute(statement, tuple(values.values())).lastrowid
        assert number is not None  # noqa: S101 - it was an INSERT
        return number

    def prune(self, keep: int) -> int:
        """Drop all but the newest *keep* runs; return how many went."""
        with self._transaction():
            return self._db.execute(
                "DELETE FROM runs WHERE id NOT IN (SELECT id FROM runs ORDER BY at DESC LIMIT ?)",
                (keep,),
            ).rowcount

    # -- reading -----------------------------------------------------------------------------

    def runs(self, limit: int = 20) -> list[PastRun]:
        """Return the newest runs with their counts, newest first."""
        rows = self._rows(
            """
            SELECT runs.*, count(test) AS tests, coalesce(sum(unexpected), 0) AS bad
            FROM runs LEFT JOIN tests ON run = id
            GROUP BY id ORDER BY at DESC, id DESC LIMIT ?
            """,
            limit,
        )
        return [from_plain(PastRun, row) for row in rows]

    def trend(self, test: str, limit: int = 50) -> list[PastTest]:
        """Return what tests whose id holds *test* came to, newest first."""
        rows = self._rows(
            """
            SELECT at, release, profile, position, test, outcome, unexpected AS bad,
                   tests.seconds AS seconds
            FROM tests JOIN runs ON run = id
            WHERE instr(test, ?) ORDER BY at DESC, id DESC, test LIMIT ?
            """,
            test,
            limit,
        )
        return [from_plain(PastTest, row) for row in rows]

    def last_seconds(self, release: str) -> float | None:
        """Return what the newest run of a kernel took, ``None`` when there was none."""
        statement = """
            SELECT seconds FROM runs WHERE release = ? AND kind != 'bench'
            ORDER BY at DESC, id DESC LIMIT 1
        """
        rows = self._rows(statement, release)
        return float(rows[0]["seconds"]) if rows else None

    def figures(self, limit: int = 50, name: str = "") -> list[PastFigure]:
        """Return the measured figures whose name holds *name*, newest first."""
        rows = self._rows(
            """
            SELECT at, release, profile, accel, name, unit, minimum, median, maximum
            FROM figures JOIN runs ON run = id
            WHERE instr(name, ?) ORDER BY at DESC, id DESC, name LIMIT ?
            """,
            name,
            limit,
        )
        return [from_plain(PastFigure, row) for row in rows]

    def flaky(self) -> list[Flaky]:
        """Return the tests with different verdicts on the same inputs, the worst first."""
        rows = self._rows(
            """
            SELECT test, release, profile, count(*) AS runs, sum(unexpected) AS bad
            FROM tests JOIN runs ON run = id
            WHERE inputs != '' AND outcome NOT IN ('error', 'skipped')
            GROUP BY inputs, test HAVING min(unexpected) != max(unexpected)
            """
        )
        found = [Flaky(**row) for row in rows]
        return sorted(found, key=lambda f: (-min(f.rate, 1 - f.rate), f.test))

    def bad_since(self) -> list[BadSince]:
        """Return the tests that are bad in their newest run, and since when."""
        rows = self._rows(
            """
            SELECT test, profile, position, series, release, at, commit_id, unexpected AS bad
            FROM tests JOIN runs ON run = id
            WHERE outcome NOT IN ('error', 'skipped')
            ORDER BY test, profile, position, at DESC, id DESC
            """
        )
        lines: dict[tuple[object, ...], list[dict[str, Any]]] = {}
        for row in rows:
            kernel = ".".join(row["release"].split(".")[:2])
            key = (row["test"], row["profile"], row["position"], row["series"], kernel)
            lines.setdefault(key, []).append(row)
        found = []
        for line in lines.values():
            streak = next((n for n, row in enumerate(line) if not row["bad"]), len(line))
            if streak:
                first = line[streak - 1]
                found.append(
                    BadSince(
                        test=first["test"],
                        profile=first["profile"],
                        position=first["position"],
                        release=line[0]["release"],
                        at=first["at"],
                        commit=first["commit_id"],
                        good=line[streak]["at"] if streak < len(line) else None,
                        runs=streak,
                    )
                )
        return sorted(found, key=lambda item: (item.at, item.test))

    def _rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        try:
            return [dict(row) for row in self._db.execute(statement, values)]
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
