# SPDX-License-Identifier: GPL-2.0-only
"""Reports in a kernel log, told apart: where each begins, what belongs to it, where it ends.  Pure.

Where the kernel says who printed a line (``CONFIG_PRINTK_CALLER``), the lines of each caller are
read for themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.results.log_lines import Piece
from harness.results.splat_forms import (
    BOXED,
    CRASHES,
    ENDED,
    HANGS,
    NOTE,
    UNSURE,
    WHOLE,
    Form,
    cascade_of,
    evidence_of,
    form_of,
)
from harness.results.splat_lines import (
    BACKTRACES,
    BOOT,
    CONFIRMED,
    CUT_HERE,
    END_TRACE,
    FENCE,
    MEMBER,
    REGISTERS,
    TRACE,
)
from harness.results.splat_title import function_in, title_of

_GAP = 6
_GAP_BEFORE_TRACE = 30
"""Lines of others between two lines of a report: when its trace began, and before."""

_FAR = 200
_FAR_OF_HANGS = 5000
"""Lines between a report and the panic that it ends in: another's oops is long over."""

_CUT_GAP = 8
"""Lines from ``cut here`` to the line that says what happened."""

_RECENT = 200
"""Lines before the one that shows a report without a beginning, in which its beginning may be."""


def read_reports(lines: Sequence[Piece]) -> tuple[Report, ...]:
    """Return the reports among *lines*, in the order in which they begin."""
    reader = _Reader(lines)
    reader.read_all()
    return tuple(sorted(reader.reports, key=lambda report: (report.first, report.order)))


@dataclass(slots=True)
class Report:
    """A report that is being read.

    :param rank: of its last step (:class:`harness.results.splat_forms.Form`).
    :param lines: numbers of its lines.
    :param pending: lines since then, which belong to it if more of it follows.
    :param frame: how many lines it had before the last, when that is a line of '=' or the like;
        ``None`` when it is another.
    :param traced: whether its call trace has begun.
    :param over: whether the line that ends it has been read.
    """

    kind: str
    title: str
    first: int
    order: int
    rank: int = 0
    leads: bool = False
    most: int | None = None
    lines: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    frame: int | None = None
    traced: bool = False
    over: bool = False
    named: bool = False

    def add(self, piece: Piece) -> None:
        """Take a line, and those that wait for it."""
        self.frame = len(self.lines) if FENCE.match(piece.body) else None
        self.lines += [*self.pending, piece.at]
        self.pending.clear()
        self.traced = self.traced or TRACE.search(piece.body) is not None
        if self.kind in ("page-fault", "oops") and not self.named:
            where = function_in(piece.body)
            if where is not None:
                self.title, self.named = f"{self.title} in {where}", True

    def takes(self, body: str) -> bool:
        """Return whether a line that begins nothing is one of the report's."""
        if self.most is not None and len(self.lines) >= self.most:
            return False
        if self.over:
            return self.kind in (*CRASHES, "panic") and REGISTERS.search(body) is not None
        if END_TRACE.search(body):
            return self.kind in ENDED
        return MEMBER.search(body) is not None or FENCE.match(body) is not None

    @property
    def patience(self) -> int:
        """Lines of others that it survives."""
        if self.most is not None and len(self.lines) >= self.most:
            return 0
        return _GAP_BEFORE_TRACE if not self.traced or self.over else _GAP


class _Reader:
    """Tells reports apart, line by line: each caller's lines are a stream of their own."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.reports: list[Report] = []
        self._pieces = pieces
        self._open: dict[str, Report] = {}
        self._cut: dict[str, list[Piece]] = {}
        self._loose: dict[str, list[Piece]] = {}
        self._boot = 0
        self._index = 0

    def read_all(self) -> None:
        """Read all lines."""
        for piece in self._pieces:
            self._read(piece)
            self._index += 1

    def _read(self, piece: Piece) -> None:
        if BOOT.match(piece.body):
            self._open.clear()
            self._boot = len(self.reports)
        now = self._open.get(piece.caller)
        begun = self._begins(piece)
        if begun is not None:
            self._begin(piece, *begun, now)
        elif CUT_HERE.search(piece.body):
            self._cut[piece.caller] = [piece]
            if now is not None and now.over:
                del self._open[piece.caller]
        elif piece.caller in self._cut:
            self._after_cut(piece, now)
        else:
            self._go_on(piece, now)

    # -- beginnings --------------------------------------------------------------------------

    def _begins(self, piece: Piece) -> tuple[Form, str] | None:
        found = form_of(piece.body, whole=False)
        if found is not None:
            return found
        note = NOTE.match(piece.body)
        if note is None and UNSURE.match(piece.body) is None:
            return None
        boxed = self._boxed(piece)
        if note is None and not boxed and not self._confirmed(piece):
            return None
        kind = "lockdep" if boxed else "warning"
        return Form(kind=kind, text="", rank=4 if note is not None else 2), piece.body

    def _boxed(self, piece: Piece) -> bool:
        """Return whether the line is the headline of a box, as lockdep draws it."""
        around = [
            other.body
            for other in self._pieces[max(self._index - 2, 0) : self._index + 5]
            if other.caller == piece.caller and other.at != piece.at
        ]
        return sum(1 for body in around if FENCE.match(body)) >= 2

    def _confirmed(self, piece: Piece) -> bool:
        """Return whether a report follows the line."""
        for other in self._pieces[self._index + 1 : self._index + 40]:
            if other.caller != piece.caller:
                continue
            if form_of(other.body, whole=True) is not None or other.at > piece.at + 12:
                return False
            if CONFIRMED.match(other.body):
                return True
        return False

    def _begin(self, piece: Piece, form: Form, first: str, now: Report | None) -> None:
        owner = self._owner(piece, form, first, now)
        if owner is not None:
            owner.rank, owner.leads = max(owner.rank, form.rank), form.leads
            owner.add(piece)
            if form.kind == "panic":
                owner.traced = owner.over = False
        else:
            if now is not None and now.frame is not None and not self._cut.get(piece.caller):
                del now.lines[now.frame :]  # the line is the top of the next report's box
            owner = self._new(piece, form.kind, first)
            owner.rank, owner.leads, owner.most = form.rank, form.leads, form.lines
            if form.kind in ("warning", "bug"):
                owner.lines = [other.at for other in self._cut.get(piece.caller, ())[1:]]
                owner.first = min([*owner.lines, piece.at])
            owner.add(piece)
        self._cut.pop(piece.caller, None)
        self._loose.pop(piece.caller, None)
        self._open[piece.caller] = owner

    def _owner(self, piece: Piece, form: Form, first: str, now: Report | None) -> Report | None:
        """Return the report that a line goes on with although it could begin one."""
        if form.kind == "panic":
            return self._ended_by(piece, first, now)
        if now is not None and not now.over and NOTE.match(first):
            return now
        for report in reversed(self.reports[self._boot :]):
            if report.leads and 0 < report.rank < form.rank:
                # Another processor may have begun a report in between.
                near = piece.at - report.first <= _GAP_BEFORE_TRACE
                return report if near and not report.over else None
        return None

    def _ended_by(self, piece: Piece, first: str, now: Report | None) -> Report | None:
        """Return the report that ends in a panic."""
        ends, kinds = cascade_of(first)
        if not ends:
            return None
        for report in reversed(self.reports[self._boot :]):
            fits = report.kind != "panic" if kinds is None else report.kind in kinds
            # What a task that hangs ends in comes behind all locks and all processors' traces.
            far = _FAR_OF_HANGS if report.kind in HANGS else _FAR
            if fits or (report is now and report.kind != "panic"):
                return report if piece.at - report.lines[-1] <= far else None
        return None

    def _new(self, piece: Piece, kind: str, first: str) -> Report:
        report = Report(kind=kind, title=title_of(first), first=piece.at, order=len(self.reports))
        self.reports.append(report)
        return report

    # -- what follows ------------------------------------------------------------------------

    def _after_cut(self, piece: Piece, now: Report | None) -> None:
        """Read a line between ``cut here`` and the one that says what happened."""
        held = self._cut[piece.caller]
        if now is not None and now.takes(piece.body):
            # Of a report that began before: two processors print at once, or it is its message.
            if now.leads:
                del self._cut[piece.caller]
            self._go_on(piece, now)
            return
        strong = CONFIRMED.match(piece.body) or REGISTERS.match(piece.body)
        if strong is None and len(held) <= _CUT_GAP:
            held.append(piece)
            return
        del self._cut[piece.caller]
        if strong is None:
            return
        # The line that says what happened is lost or damaged.
        said = next((other for other in held[1:] if other.body.strip()), held[0])
        report = self._new(said, evidence_of(said.body) or "unknown", said.body)
        report.lines = [other.at for other in held if other.at >= said.at]
        report.add(piece)
        self._open[piece.caller] = report

    def _go_on(self, piece: Piece, now: Report | None) -> None:
        body = piece.body
        if now is not None and not body:
            now.pending.append(piece.at)
        elif now is not None and now.takes(body):
            now.add(piece)
            self._ends(piece, now)
        elif BACKTRACES.search(body) and self.reports and self.reports[-1].kind in HANGS:
            # Other processors say where they are, when one of them says that it hangs.
            self._open[piece.caller] = self.reports[-1]
            self.reports[-1].add(piece)
        else:
            if now is not None:
                now.pending.append(piece.at)
                if len(now.pending) > now.patience:
                    now.pending.clear()
                    del self._open[piece.caller]
            self._unclaimed(piece)

    def _ends(self, piece: Piece, now: Report) -> None:
        if END_TRACE.search(piece.body):
            now.over = True
            if now.kind not in CRASHES:
                del self._open[piece.caller]
        elif "---[ end Kernel panic" in piece.body or (
            now.kind in BOXED and now.traced and FENCE.match(piece.body)
        ):
            now.over = True
            del self._open[piece.caller]

    # -- reports without a beginning ---------------------------------------------------------

    def _late(self, piece: Piece, kind: str) -> bool:
        """Return whether the line is the rest of a report that much else came in between of.

        An ``end trace`` is that of whatever report has none yet: a dump of ftrace's buffer before
        it is as long as it likes.
        """
        end = END_TRACE.search(piece.body) is not None
        for report in reversed(self.reports[self._boot :]):
            if report.over:
                continue
            ends = end and report.kind in ENDED
            if ends or (report.kind == kind and piece.at - report.lines[-1] < _RECENT):
                report.pending.clear()
                report.add(piece)
                report.over = report.over or end
                self._open[piece.caller] = report
                return True
        return False

    def _unclaimed(self, piece: Piece) -> None:
        """Look at a line that no report takes: it may show one whose first line is damaged."""
        loose = self._loose.setdefault(piece.caller, [])
        loose.append(piece)
        del loose[:-_RECENT]
        kind = evidence_of(piece.body)
        if kind is None:
            return
        if self._late(piece, kind):
            return
        back = len(loose) - 1
        while back > 0 and (
            MEMBER.search(loose[back - 1].body)
            or FENCE.match(loose[back - 1].body)
            or not loose[back - 1].body
        ):
            back -= 1
        if back == 0 and loose[0].at == 0 and kind not in WHOLE:
            return  # the end of a report that began before this text
        said = piece if kind in WHOLE or back == 0 else loose[back - 1]
        report = self._new(said, kind, said.body)
        report.lines = [other.at for other in loose if said.at <= other.at < piece.at]
        report.add(piece)
        self._loose.pop(piece.caller)
        self._open[piece.caller] = report
        self._ends(piece, report)
