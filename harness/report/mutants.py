# SPDX-License-Identifier: GPL-2.0-only
"""Mutants drawn: a line for each, what lives at the end, the documentation's table, the record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.base.text import duration, first_line
from harness.results.records import Fate, MutantRecord, MutantsRecord
from harness.search.mutants import Trial

_WORDS = {
    Fate.KILLED: "killed",
    Fate.SURVIVED: "SURVIVED",
    Fate.AS_STATED: "survives, as stated",
    Fate.KILLED_AFTER_ALL: "KILLED, but stated to survive",
    Fate.WRONG: "WRONG",
    Fate.NO_VERDICT: "no verdict",
}
_STYLE = {Fate.KILLED: "green", Fate.AS_STATED: "yellow", Fate.NO_VERDICT: "bold magenta"}


def trial_line(trial: Trial) -> Text:
    """Return the line that says what became of a mutant."""
    style = _STYLE.get(trial.fate, "bold red")
    line = Text(f"{trial.mutant.breaks:>5}  {trial.mutant.name:<36} ")
    line.append(_WORDS[trial.fate], style=style)
    line.append(f" by {trial.killer}" if trial.killer else f": {first_line(trial.message)}")
    line.append(f"  {duration(trial.seconds)}", style="dim")
    return line


def print_trials(trials: Sequence[Trial], console: Console) -> None:
    """Print what is not as it should be, and the counts."""
    wrong = [t for t in trials if t.fate not in (Fate.KILLED, Fate.AS_STATED)]
    if wrong:
        table = Table(title="not killed", title_justify="left", box=None, pad_edge=False)
        for name in ("mutant", "what is wrong", "", "log"):
            table.add_column(name, overflow="fold")
        for trial in wrong:
            said = f"{_WORDS[trial.fate]}: {first_line(trial.message)}"
            table.add_row(*map(Text, (trial.mutant.name, trial.mutant.what, said, str(trial.log))))
        console.print(table)
    killed = sum(trial.fate is Fate.KILLED for trial in trials)
    stated = sum(trial.fate is Fate.AS_STATED for trial in trials)
    said = f"{killed} of {len(trials)} mutants killed"
    if stated:
        said += f", {stated} stated to survive"
    console.print(Text(said, style="bold red" if wrong else "bold green"))


def record_of(trials: Iterable[Trial]) -> MutantsRecord:
    """Return what is written of mutants."""
    return MutantsRecord(
        mutants=tuple(
            MutantRecord(
                name=trial.mutant.name,
                what=trial.mutant.what,
                breaks=trial.mutant.breaks,
                profile=trial.mutant.profile,
                fate=trial.fate,
                killer=trial.killer,
                message=trial.message,
                log=str(trial.log),
                seconds=round(trial.seconds, 1),
            )
            for trial in trials
        )
    )


def to_markdown(trials: Sequence[Trial], title: str, *, generated: bool = False) -> str:
    """Return the table for the documentation.

    :param generated: whether the mutants were made systematically.
    """
    option, file = (" --generated", "generated-mutants") if generated else ("", "mutants")
    lines = [
        "# Generated mutants" if generated else "# Mutants",
        "",
        "Small wrong changes to the kernel with the whole series of the suite applied, and",
        "the test that notices each of them.",
        f"Made by `harness mutants{option} --table docs/{file}.md`; do not edit.",
        "",
        title,
        "",
        f"| {'file' if generated else 'breaks'} | mutant | what is wrong | profile | noticed by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for trial in trials:
        mutant = trial.mutant
        by = f"`{trial.killer}`" if trial.killer else f"{_WORDS[trial.fate]}: {trial.message}"
        what = f"`{mutant.what}`" if generated else mutant.what
        cells = (mutant.breaks, f"`{mutant.name}`", what, mutant.profile, by)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
