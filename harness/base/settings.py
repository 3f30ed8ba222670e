# SPDX-License-Identifier: GPL-2.0-only
"""What can be set, in one table, and what is made of it: a target, and settings again.

Command line, pytest plugin, environment and ini file take their settings from :data:`SETTINGS`;
:mod:`harness.base.variables` has the environment variables besides those.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from harness.base.arch import ARCHITECTURES, architecture
from harness.base.command import which
from harness.base.errors import SpecError
from harness.base.sandbox import MODES
from harness.base.setting import Flag, Group, Setting
from harness.base.spec import DEFAULT_CC, KernelSpec, Target, load_kernels
from harness.base.suite import Suite, find_suite, load_suite
from harness.base.text import path_of

SETTINGS = (
    Setting(
        name="suite",
        group=Group.TREE,
        metavar="DIR",
        help="directory with a suite.yaml: what the series is about",
        otherwise="the one here, or the shipped one",
    ),
    Setting(
        name="kernel",
        group=Group.TREE,
        metavar="WHICH",
        help="a name, git tree, tarball or source package",
        otherwise="the suite's",
    ),
    Setting(
        name="base",
        group=Group.TREE,
        metavar="REV",
        help="revision of a git tree to start from",
        otherwise="HEAD",
    ),
    Setting(
        name="series",
        group=Group.TREE,
        metavar="WHERE",
        help="mbox, maildir, directory, A..B, branch of b4 or Message-ID; 'none' for no patches",
        otherwise="the suite's",
    ),
    Setting(
        name="arch",
        group=Group.TREE,
        metavar="|".join(sorted(ARCHITECTURES)),
        help="the guests' architecture, as uname -m says it",
        otherwise="the suite's, or this host's",
        choices=tuple(sorted(ARCHITECTURES)),
    ),
    Setting(
        name="cc",
        group=Group.TREE,
        metavar="PROGRAM",
        help="compiler, such as gcc-14",
        otherwise=f"$CC, or {DEFAULT_CC}",
    ),
    Setting(
        name="jobs",
        group=Group.TREE,
        metavar="N",
        help="parallel compilers",
        otherwise="one for each CPU that it may use",
        short="-j",
    ),
    Setting(
        name="sandbox",
        group=Group.TREE,
        metavar="auto|require|off",
        help="run what the tree brings without network, home and keys; require insists",
        default="auto",
        choices=MODES,
    ),
    Setting(
        name="position",
        group=Group.TARGET,
        metavar="N",
        help="patches applied, 0 = none",
        otherwise="all",
    ),
    Setting(
        name="extra",
        group=Group.TARGET,
        metavar="FILES",
        help="patches on top of the position, colon-separated",
    ),
    Setting(
        name="profile",
        group=Group.TARGET,
        metavar="NAME",
        help="kernel profile, and @ARCH if it is for another architecture",
        default="default",
    ),
    Setting(
        name="accel",
        group=Group.MACHINE,
        metavar="auto|kvm|tcg",
        help="accelerator; kvm insists on it",
        default="auto",
        choices=("auto", "kvm", "tcg"),
    ),
    Setting(
        name="qemu",
        group=Group.MACHINE,
        metavar="PROGRAM",
        help="QEMU",
        otherwise="the one on PATH",
    ),
    Setting(
        name="cmdline",
        group=Group.MACHINE,
        metavar="WORDS",
        help="further kernel parameters",
    ),
    Setting(
        name="templates",
        group=Group.MACHINE,
        metavar="yes|no",
        help="clone machines from one that was booted, or boot each",
        default="yes",
        choices=("yes", "no"),
        flag=Flag(option="--no-templates", value="no", help="boot every machine, clone none"),
        inherited=True,
    ),
    Setting(
        name="judge",
        group=Group.OUTCOME,
        metavar="desired|expected",
        help="by what the series is to bring, or by what the tests state for the position",
        otherwise="desired for the suite's series and its re-rolls, expected for any other tree",
        choices=("desired", "expected"),
        flag=Flag(
            option="--expected",
            value="expected",
            help="judge by what the tests state for the position, not by what the series brings",
        ),
    ),
    Setting(
        name="strict",
        group=Group.OUTCOME,
        metavar="yes|no",
        help="whether tests that ask for more than the series promises may fail a run",
        default="no",
        choices=("no", "yes"),
        flag=Flag(
            option="--strict",
            value="yes",
            help="findings of tests that ask for more than the series promises are failures",
        ),
    ),
    Setting(
        name="to",
        group=Group.OUTCOME,
        metavar="KERNEL",
        help="kernel that tests of two kernels go to: NAME[:POSITION][+PATCH]...",
        otherwise="they are left out",
    ),
    Setting(
        name="seed",
        group=Group.OUTCOME,
        metavar="N",
        help="what races and fuzzing follow from: the same number, the same of both",
        default="1",
    ),
    Setting(
        name="races",
        group=Group.OUTCOME,
        metavar="SECONDS",
        help="how long each test of races or fuzzing goes on, with further seeds",
        otherwise="one seed",
    ),
    Setting(
        name="schedule",
        group=Group.OUTCOME,
        metavar="FILE",
        help="a schedule of a race, as results keep it, in place of one from a seed",
    ),
    Setting(
        name="results",
        group=Group.OUTCOME,
        metavar="DIR",
        help="where logs and results go; those of an earlier run there are removed",
        otherwise="a new directory below results/",
    ),
    Setting(
        name="room",
        group=Group.HOST,
        metavar="GIB",
        help="how large the cache may become; what was not used for longest goes first",
        otherwise="20, and no more than a third of what there is",
        inherited=True,
    ),
)
"""All settings; a :class:`Setting` says under which names."""

SETTING = {setting.name: setting for setting in SETTINGS}
"""The settings by their names."""

UNTIL_FAILED = "--harness-until-failed"
"""The plugin's option that ends a session with the first test that fails."""


# -- what is made of them ------------------------------------------------------------------


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
    series = setting("series") or suite.series or "none"
    position, jobs = setting("position"), setting("jobs")
    profile, _, arch = _chosen(setting, "profile").partition("@")
    return Target(
        suite=suite.root,
        kernel=_kernel(setting("kernel") or suite.kernel, base, suite),
        series=None if series == "none" else series,
        position=None if position in (None, "last") else _number(position, "position", least=0),
        profile=profile,
        accel=_chosen(setting, "accel"),
        arch=architecture(arch or SETTING["arch"].checked(setting("arch")) or suite.arch).name,
        jobs=None if jobs is None else _number(jobs, "jobs", least=1),
        extra=tuple(Path(text) for text in (setting("extra") or "").split(os.pathsep) if text),
        cc=_program(setting("cc") or os.environ.get("CC") or DEFAULT_CC),
        qemu=qemu_from_setting(setting("qemu")),
        sandbox=_chosen(setting, "sandbox"),
    )


def _chosen(setting: Callable[[str], str | None], name: str) -> str:
    """Return the value of a setting that has a default."""
    return SETTING[name].checked(setting(name)) or str(SETTING[name].default)


def qemu_from_setting(text: str | None) -> Path | None:
    """Return the path of the QEMU that is asked for.

    :param text: a program on ``PATH``, or its path.
    :returns: ``None`` when none is asked for.
    :raises SpecError: when there is no such program.
    """
    if not text:
        return None
    found = which(str(path_of(text)) if "/" in text else text)
    if found is None:
        raise SpecError(
            f"there is no program {text!r}",
            hint=f"--qemu and HARNESS_QEMU name one that can be run, such as {architecture().qemu}",
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
        "arch": target.arch,
        "cc": target.cc,
        "sandbox": target.sandbox,
    }
    given: dict[str, object] = {"kernel": target.kernel.path, "base": target.kernel.base}
    given |= {"jobs": target.jobs, "qemu": target.qemu}
    settings |= {name: str(value) for name, value in given.items() if value is not None}
    for name, known in load_kernels().items():
        if known == replace(target.kernel, base=None):
            settings["kernel"] = name
    if target.extra:
        settings["extra"] = os.pathsep.join(str(path) for path in target.extra)
    return settings


def _kernel(text: str | None, base: str | None, suite: Suite) -> KernelSpec:
    known = load_kernels()
    if text is None:
        raise SpecError(
            f"{suite.file} names no kernel", hint="--kernel names one, or the key 'kernel' there"
        )
    if text in known and not Path(text).exists():
        if base is not None and known[text].git is None:
            raise SpecError(
                f"the kernel {text} is a package: it has no revisions", hint="leave --base out"
            )
        return replace(known[text], base=base)
    return KernelSpec(path=path_of(text).resolve(), base=base)


def _program(text: str) -> str:
    """Return a program's name, or its path from the root: make runs it from elsewhere."""
    if len(text.split()) != 1:
        raise SpecError(
            f"a compiler is one program, not {text!r}", hint="ccache is used where there is one"
        )
    return str(path_of(text).absolute()) if "/" in text else text


def _number(text: str, name: str, *, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise SpecError(f"{name} must be a whole number from {least} on, not {text!r}")
    return int(text)
