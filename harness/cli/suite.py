# SPDX-License-Identifier: GPL-2.0-only
"""The command that begins a suite of one's own."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import jinja2

from harness.base.errors import ExitCode, InputError
from harness.base.spec import PROJECT_ROOT, load_kernels
from harness.base.suite import FILE, load_suite
from harness.base.terminal import Ui
from harness.base.text import path_of
from harness.cli.options import Commands
from harness.kernel.series import Series, read_series

_INIT_EXAMPLES = """\
examples:
  harness init mysuite --kernel ~/linux --series v4.mbx
  harness init mysuite --kernel 7.0.13      a pinned kernel, and no patches yet
  harness init mysuite --example            a small suite that is complete, to try and to change
"""

EXAMPLE = PROJECT_ROOT / "examples" / "get-options"
"""A small suite that is complete."""


def add_commands(commands: Commands) -> None:
    """Add ``init``."""
    text = "begin a suite of your own: a directory with a suite.yaml and a first test"
    init = commands.add("init", _init, text, _INIT_EXAMPLES)
    init.add_argument("directory", type=Path, metavar="DIR", help="made, or empty")
    # What the new suite says; no settings, and nothing in the environment says it.
    origin = init.add_mutually_exclusive_group(required=True)
    origin.add_argument(
        "--kernel", dest="own_kernel", metavar="WHICH", help="as harness run takes it"
    )
    origin.add_argument("--example", action="store_true", help="copy the example suite instead")
    init.add_argument(
        "--series", dest="own_series", metavar="WHERE", help="as harness run takes it; it is copied"
    )


def _init(args: argparse.Namespace, ui: Ui) -> int:
    target: Path = path_of(args.directory).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            f"{target} is there already", hint="name a directory that is not, or empty"
        )
    write = _example(args) if args.example else _skeleton(args, suite_name(target.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: what is wrong is found before anything is where the user looks.
    with tempfile.TemporaryDirectory(prefix=".harness-init-", dir=target.parent) as name:
        made = Path(name) / "suite"
        write(made)
        load_suite(made)
        shutil.copytree(made, target, dirs_exist_ok=True)
    for path in sorted(path for path in target.rglob("*") if path.is_file()):
        ui.out.print(os.path.relpath(path), markup=False, soft_wrap=True)
    command = "matrix" if args.example else "run"
    ui.out.print(f"next: cd {target} && harness {command}", markup=False, soft_wrap=True)
    return int(ExitCode.PASSED)


def _example(args: argparse.Namespace) -> Callable[[Path], object]:
    """Return what writes the example suite into a directory that it makes."""
    if args.own_series is not None:
        raise InputError("the example suite has a series of its own", hint="leave --series out")
    litter = shutil.ignore_patterns("__pycache__")
    return lambda made: shutil.copytree(EXAMPLE, made, ignore=litter)


def _skeleton(args: argparse.Namespace, name: str) -> Callable[[Path], object]:
    """Return what writes a suite about the kernel and the series that are asked for."""
    kernel = _kernel(args.own_kernel)
    series = _series(args.own_series, args.own_kernel)
    return lambda made: _write(made, name, kernel, series)


def suite_name(directory: str) -> str:
    """Return a suite's name for a directory's: ``My Suite`` -> ``my-suite``."""
    return re.sub(r"[^a-z0-9_]+", "-", directory.lower()).strip("-_") or "suite"


def _kernel(text: str) -> str:
    path = path_of(text)
    if text in load_kernels() and not path.exists():
        return text
    if not path.exists():
        known = ", ".join(load_kernels())
        raise InputError(f"there is no kernel {text}", hint=f"a tree, an archive, or: {known}")
    return str(path.absolute())


def _series(location: str | None, kernel: str) -> Series | None:
    if location is None:
        return None
    repo = path_of(kernel)
    return read_series(location, repo=repo if repo.is_dir() else None)


def _write(directory: Path, name: str, kernel: str, series: Series | None) -> None:
    (directory / "tests").mkdir(parents=True)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.cli", "."),
        autoescape=False,  # noqa: S701 - YAML and Python, not HTML
        keep_trailing_newline=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    facts = {"name": name, "kernel": kernel, "series": series}
    for template, path in (("suite.yaml.j2", FILE), ("test_first.py.j2", "tests/test_first.py")):
        (directory / path).write_text(environment.get_template(template).render(facts))
    if series is not None:
        (directory / "series").mkdir()
        for patch in series.patches:
            subject = re.sub(r"[^A-Za-z0-9._]+", "-", patch.subject).strip("-.")[:52]
            (directory / "series" / f"{patch.number:04}-{subject}.patch").write_bytes(patch.mail)
