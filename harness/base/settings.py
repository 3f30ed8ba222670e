# SPDX-License-Identifier: GPL-2.0-only
"""What is to be tested, as text: from options and the environment, and back into options.

Command line, pytest plugin and the processes that the harness starts say it in the same words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

from harness.base.arch import architecture
from harness.base.command import which
from harness.base.errors import SpecError
from harness.base.spec import DEFAULT_CC, KernelSpec, Target, load_kernels
from harness.base.suite import Suite, find_suite, load_suite


def target_from_settings(setting: Callable[[str], str | None]) -> Target:
    """Turn textual settings (``kernel``, ``base``, ``series``, ...) into a target.

    Without the setting ``cc`` the compiler is what ``CC`` in the environment names, as for make.

    :param setting: returns the value of a setting, ``None`` when it was not given.
    :raises SpecError: when a value makes no sense.
    """
    suite = load_suite(find_suite(setting("suite")))
    base = setting("base")
    if setting("kernel") is None and base is not None:
        raise SpecError("--base goes with --kernel", hint="give the git tree that has it")
    accel = setting("accel") or "auto"
    if accel not in ("auto", "kvm", "tcg"):
        raise SpecError(f"there is no accelerator {accel!r}", hint="known: auto, kvm, tcg")
    series = setting("series") or suite.series or "none"
    position, jobs = setting("position"), setting("jobs")
    return Target(
        suite=suite.root,
        kernel=_kernel(setting("kernel") or suite.kernel, base, suite),
        series=None if series == "none" else series,
        position=None if position in (None, "last") else _number(position, "position", least=0),
        profile=setting("profile") or "default",
        accel=accel,
        arch=architecture().name,
        jobs=None if jobs is None else _number(jobs, "jobs", least=1),
        extra=tuple(Path(text) for text in (setting("extra") or "").split(os.pathsep) if text),
        cc=_program(setting("cc") or os.environ.get("CC") or DEFAULT_CC),
        qemu=qemu_from_setting(setting("qemu")),
    )


def qemu_from_setting(text: str | None) -> Path | None:
    """Return the path of the QEMU that is asked for: *text*, else ``HARNESS_QEMU``.

    :param text: a program on ``PATH``, or its path.
    :returns: ``None`` when none is asked for.
    :raises SpecError: when there is no such program.
    """
    text = text or os.environ.get("HARNESS_QEMU")
    if not text:
        return None
    found = which(str(Path(text).expanduser()) if "/" in text else text)
    if found is None:
        raise SpecError(
            f"there is no program {text!r}",
            hint="--qemu and HARNESS_QEMU name a QEMU that can be run, such as "
            f"{architecture().qemu}",
        )
    # A link keeps its name: it may be a program that looks at it.
    return found.absolute()


def settings_of(target: Target) -> dict[str, str]:
    """Turn a target into the settings that :func:`target_from_settings` makes it from."""
    settings = {
        "suite": str(target.suite),
        "series": target.series if target.series is not None else "none",
        "position": "last" if target.position is None else str(target.position),
        "profile": target.profile,
        "accel": target.accel,
        "cc": target.cc,
    }
    if target.kernel.path is not None:
        settings["kernel"] = str(target.kernel.path)
    for name, package in load_kernels().items():
        if package == target.kernel.package:
            settings["kernel"] = name
    if target.kernel.base is not None:
        settings["base"] = target.kernel.base
    if target.jobs is not None:
        settings["jobs"] = str(target.jobs)
    if target.qemu is not None:
        settings["qemu"] = str(target.qemu)
    if target.extra:
        settings["extra"] = os.pathsep.join(str(path) for path in target.extra)
    return settings


def _kernel(text: str | None, base: str | None, suite: Suite) -> KernelSpec:
    known = load_kernels()
    if text is None:
        raise SpecError(
            f"{suite.file} names no kernel", hint="--kernel names one, or the key 'kernel' there"
        )
    if text in known and base is None and not Path(text).exists():
        return KernelSpec(package=known[text])
    return KernelSpec(path=Path(text).expanduser().resolve(), base=base)


def parse_positions(
    text: str | None, last: int, usual: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """Read ``0..3,9,11``: positions in ascending order.

    :param usual: what ``None`` stands for; all of them when that is ``None`` too.
    :param last: the last position that there is.
    :raises SpecError: when it is nothing of the kind, or names a position that there is not.
    """
    if text is None and usual is not None:
        return usual
    found: set[int] = set()
    for word in (text if text is not None else f"0..{last}").split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*\.\.\s*(\d+))?\s*", word, re.ASCII)
        if match is None:
            raise SpecError(f"{word!r} is no position", hint="such as 0..11 or 0,5,9..11")
        first = int(match.group(1))
        end = int(match.group(2)) if match.group(2) else first
        if first > end or end > last:
            raise SpecError(
                f"there are no positions {word.strip()}",
                hint=f"positions run from 0 (no patch) to {last} (all)",
            )
        found |= set(range(first, end + 1))
    return tuple(sorted(found))


def positions_text(positions: Iterable[int]) -> str:
    """Return positions as ``--positions`` takes them: ``0..3,9``."""
    ordered = sorted(set(positions))
    starts = ordered[:1] + [b for a, b in pairwise(ordered) if b != a + 1]
    ends = [a for a, b in pairwise(ordered) if b != a + 1] + ordered[-1:]
    return ",".join(str(a) if a == b else f"{a}..{b}" for a, b in zip(starts, ends, strict=True))


def _program(text: str) -> str:
    """Return a program's name, or its path from the root: make runs it from elsewhere."""
    if len(text.split()) != 1:
        raise SpecError(
            f"a compiler is one program, not {text!r}", hint="ccache is used where there is one"
        )
    return str(Path(text).expanduser().absolute()) if "/" in text else text


def _number(text: str, name: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise SpecError(f"{name} must be a whole number from {least} on, not {text!r}")
    return int(text)
