# SPDX-License-Identifier: GPL-2.0-only
"""What a person sees: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from harness.base.errors import HarnessError
from harness.base.progress import OnProgress, Progress, Stage
from harness.base.text import duration

_FILE_WIDTH = 120
"""Columns of tables that go into a file or a pipe."""

_FRAMES_A_SECOND = 4

Usual = Callable[[Stage], float | None]
"""Returns how many seconds a stage took last time, ``None`` when that is not known."""


@dataclass(slots=True)
class _Lane:
    """One thing that is under way.

    :param at: what is known of it, ``None`` as long as nobody has said anything.
    :param since: when its stage began, on the clock of :func:`time.monotonic`.
    :param usual: seconds that it took last time, or ``None``.
    """

    name: str
    at: Progress | None = None
    since: float = 0.0
    usual: float | None = None

    @property
    def text(self) -> str:
        return str(self.at) if self.at is not None else "starting"


class ProgressDisplay:
    """What is being done, and for how long it has been: several things at once, a line each.

    Where there is no terminal every word about it is a line.  Call it with a word about the only
    thing that is under way, or ask for a :meth:`lane`.

    :param total: how many things are to be done in all, ``None`` when it is not known.
    """

    def __init__(self, console: Console, usual: Usual, total: int | None) -> None:
        self._console = console
        self._usual = usual
        self._total = total
        self._done = 0
        self._lanes: dict[str, _Lane] = {}
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._spinner = Spinner("dots")
        self._live = self._new_live() if console.is_terminal else None

    def _new_live(self) -> Live:
        return Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=_FRAMES_A_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __call__(self, progress: Progress) -> None:
        """Say what is being done."""
        self._say("", progress)

    @contextlib.contextmanager
    def lane(self, name: str) -> Iterator[OnProgress]:
        """Yield what says how far one of several things is; it is shown as long as it lasts."""
        try:
            yield lambda progress: self._say(name, progress)
        finally:
            with self._lock:
                self._lanes.pop(name, None)

    def done(self) -> None:
        """Say that one more of the things to be done is done."""
        self._done += 1

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show it, where there is a terminal."""
        if self._live is not None:
            self._live.start(refresh=True)
        try:
            yield
        finally:
            if self._live is not None:
                self._live.stop()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take it away for as long as something else is printed."""
        if self._live is None:
            yield
            return
        with self._lock:
            self._live.stop()
            try:
                yield
            finally:
                # The old one would go up over what was printed: it remembers its height.
                self._live = self._new_live()
                self._live.start(refresh=True)

    def _say(self, name: str, progress: Progress) -> None:
        usual = self._usual(progress.stage)
        with self._lock:
            lane = self._lanes.setdefault(name, _Lane(name))
            begins = lane.at is None or progress.stage != lane.at.stage
            lane.at = progress
            if begins:
                lane.since, lane.usual = time.monotonic(), usual
            if self._live is None:
                self._print(lane, begins)

    def _print(self, lane: _Lane, begins: bool) -> None:
        line = f"[{time.monotonic() - self._started:6.1f} s] "
        line += f"{lane.name}: " if lane.name else ""
        line += lane.text
        if begins and lane.usual is not None:
            line += f" (last time {_clock(lane.usual)})"
        self._console.print(line, markup=False, soft_wrap=True)

    # -- in a terminal -----------------------------------------------------------------------

    def _picture(self) -> RenderableType:
        now = time.monotonic()
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        table.expand = True
        # Without the lock: it may be drawn while somebody holds it and waits for the drawing.
        for lane in list(self._lanes.values()) or [_Lane("", since=self._started)]:
            took = _clock(now - lane.since)
            if lane.usual is not None:
                took += f", last time {_clock(lane.usual)}"
            table.add_row(self._spinner, Text(lane.name), Text(lane.text), Text(took, style="dim"))
        if self._total is not None:
            table.add_row("", "", Text(self._summary(now), style="dim"), "")
        return table

    def _summary(self, now: float) -> str:
        """Say how far all of it is, and when it will be done."""
        elapsed = now - self._started
        said = f"{self._done} of {self._total} done, {_clock(elapsed)}"
        left = (self._total or 0) - self._done
        if self._done and left:
            said += f", about {_clock(elapsed / self._done * left)} to go"
        return said


def _clock(seconds: float) -> str:
    """Return a time without tenths, which would only flicker."""
    return duration(round(seconds))


class Ui:
    """The terminal, or the files that stand for it."""

    def __init__(self, *, verbose: int) -> None:
        self.out = Console(highlight=False)
        if not self.out.is_terminal:
            self.out.width = max(self.out.width, _FILE_WIDTH)
        self.err = Console(stderr=True, highlight=False)
        self._progress: ProgressDisplay | None = None
        level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
        logging.basicConfig(level=level, format="%(asctime)s %(name)s: %(message)s")
        for noisy in ("paramiko", "asyncio", "qemu"):
            logging.getLogger(noisy).setLevel(max(level, logging.WARNING))

    @contextlib.contextmanager
    def progress(
        self, usual: Usual = lambda _stage: None, *, total: int | None = None
    ) -> Iterator[ProgressDisplay]:
        """Yield what shows what is being done, and for how long it has been.

        :param usual: tells how long a stage took last time.
        """
        progress = ProgressDisplay(self.err, usual, total)
        self._progress = progress
        try:
            with progress.shown():
                yield progress
        finally:
            self._progress = None

    def line(self, text: Text) -> None:
        """Print a line of the result although progress may be showing."""
        with self._progress.aside() if self._progress is not None else contextlib.nullcontext():
            self.out.print(text, soft_wrap=True)

    def error(self, error: HarnessError) -> None:
        """Print an error, with its hint and its log."""
        self.err.print(Text.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
        if error.hint:
            self.err.print(Text.assemble(("  hint: ", "bold"), error.hint), soft_wrap=True)
        if error.log:
            self.err.print(Text.assemble(("  log: ", "bold"), str(error.log)), soft_wrap=True)
