# SPDX-License-Identifier: GPL-2.0-only
"""Commands that come before a test: what the host has, sources, builds, a shell in the guest."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from pathlib import Path

from rich.table import Table
from rich.text import Text

from harness.base.arch import architecture
from harness.base.errors import BuildError, ExitCode, InputError, KconfigError, SeriesError
from harness.base.positions import parse_positions
from harness.base.progress import Progress
from harness.base.settings import qemu_from_setting
from harness.base.store import Store
from harness.base.terminal import Ui
from harness.base.text import duration
from harness.cli.options import (
    MACHINE,
    OUTPUT,
    TARGET,
    TREE,
    Commands,
    add_settings,
    pipeline_of,
    write_json,
)
from harness.guest.accel import choose_accel
from harness.guest.doctor import check_host
from harness.guest.timing import boot_stages, kexec_stages, stage_table
from harness.kernel.known import known_kernels
from harness.kernel.source import open_source
from harness.report.text import series_lines
from harness.results.directory import results_directory
from harness.results.facts import Provenance
from harness.results.form import to_plain
from harness.results.pace import Pace
from harness.run.pipeline import Pipeline
from harness.run.provenance import describe_series, facts_of

_DOCTOR_EXAMPLES = """\
examples:
  harness doctor
  harness doctor --arch aarch64             what arm64 guests need, on a host of whatever kind
  harness doctor --accel kvm                exit code 3 unless a guest really runs under KVM
  harness doctor --qemu /usr/bin/qemu-system-x86_64
"""
_KERNELS_EXAMPLES = """\
examples:
  harness kernels
"""
_FEATURES_EXAMPLES = """\
examples:
  harness features                          what the kernel under test has of what the suite names
  harness features --kernel 7.3.4 --series none
"""
_FETCH_EXAMPLES = """\
examples:
  harness fetch                             the pinned source package, imported into git
  harness fetch --kernel ~/linux --base v7.0
  harness fetch --kernel next               a branch: what is new there since it was fetched last
"""
_CONFIG_EXAMPLES = """\
examples:
  harness config                            configure, and prove that every option survived
  harness config --profile debug --explain KASAN_VMALLOC
"""
_BUILD_EXAMPLES = """\
examples:
  harness build                             the last position, profile 'default'
  harness build --position 5 --profile debug
  harness build --positions 0..11           all of them, past those that do not build
"""
_BOOT_EXAMPLES = """\
examples:
  harness boot                              a shell in the guest; Ctrl-] ends it
  harness boot --position 0 --gdb           says how to attach gdb
  harness boot --timing                     where the time of a boot and a kexec goes
"""


def add_commands(commands: Commands) -> None:
    """Add ``doctor``, ``kernels``, ``features``, ``fetch``, ``config``, ``build`` and ``boot``."""
    doctor = commands.add(
        "doctor",
        _doctor,
        "say what this host lacks, and the command that installs it",
        _DOCTOR_EXAMPLES,
        OUTPUT,
    )
    add_settings(doctor, "arch", "accel", "qemu", "sandbox")
    text = "list the kernels that --kernel knows by name, and what of them is cached"
    commands.add("kernels", _kernels, text, _KERNELS_EXAMPLES, OUTPUT)
    parents = (TREE, TARGET, OUTPUT)
    text = "say what a kernel has of the features that the suite tells kernels apart by"
    commands.add("features", _features, text, _FEATURES_EXAMPLES, *parents)
    text = "get the kernel source and apply the series"
    commands.add("fetch", _fetch, text, _FETCH_EXAMPLES, *parents)
    text = "configure the kernel and prove the options"
    config = commands.add("config", _config, text, _CONFIG_EXAMPLES, *parents)
    config.add_argument("--explain", metavar="SYMBOL", help="why a symbol has its value")
    text = "build the kernel, the test module and the image"
    build = commands.add("build", _build, text, _BUILD_EXAMPLES, *parents)
    build.add_argument(
        "--positions", metavar="LIST", help="several, such as 0..11: build all that can be built"
    )
    text = "boot the kernel and open a shell in the guest"
    boot = commands.add("boot", _boot, text, _BOOT_EXAMPLES, TREE, TARGET, MACHINE)
    boot.add_argument("--gdb", action="store_true", help="offer a gdb stub")
    boot.add_argument(
        "--timing", action="store_true", help="say where the time goes, and open no shell"
    )


def _kernels(args: argparse.Namespace, ui: Ui) -> int:
    table = Table(box=None, pad_edge=False)
    for column in ("name", "what", "downloaded", "imported", "built"):
        table.add_column(column, overflow="fold")
    found = []
    for kernel in known_kernels(Store()):
        source = kernel.source
        here = {None: "-", True: "yes", False: "no"}[kernel.downloaded]
        imported = source.version if source is not None else "no"
        table.add_row(
            kernel.name, kernel.spec.what, here, imported, ", ".join(kernel.built) or "no"
        )
        found.append(
            {
                "name": kernel.name,
                "what": kernel.spec.what,
                "downloaded": kernel.downloaded,
                "imported": source.version if source is not None else None,
                "commit": source.base if source is not None else None,
                "built": list(kernel.built),
            }
        )
    ui.out.print(table)
    write_json(args, found)
    return int(ExitCode.PASSED)


def _features(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        has = pipeline.features.of(pipeline.position().commit)
    table = Table(box=None, pad_edge=False)
    for column in ("feature", "here", "what it is", "how it is known"):
        table.add_column(column, overflow="fold")
    for each in pipeline.suite.features:
        here = Text("yes", style="green") if each.name in has else Text("no")
        table.add_row(each.name, here, Text(each.description), Text(each.probe))
    ui.out.print(f"Linux {pipeline.source.version}: {pipeline.source.label}", markup=False)
    ui.out.print(table)
    write_json(args, {each.name: each.name in has for each in pipeline.suite.features})
    return int(ExitCode.PASSED)


def _doctor(args: argparse.Namespace, ui: Ui) -> int:
    arch = architecture(args.arch)
    qemu = str(qemu_from_setting(args.qemu) or arch.qemu)
    report = check_host(Store(), arch, qemu, sandbox=args.sandbox)
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in report.items:
        table.add_row(
            Text("ok" if item.ok else "MISSING", style="green" if item.ok else "bold red"),
            Text(item.name),
            Text(item.detail, overflow="fold"),
        )
    ui.out.print(table)
    if report.install is not None:
        ui.out.print(f"install what is missing:\n  {report.install}", markup=False, soft_wrap=True)
    write_json(args, report.to_json())
    choose_accel(args.accel, arch, Store(), qemu)
    return int(ExitCode.PASSED if report.ok else ExitCode.INFRASTRUCTURE)


def _fetch(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        pipeline.check_request()
        # A branch that was fetched before may have moved.
        open_source(pipeline.target.kernel, pipeline.store, progress=progress, update=True)
        applied = pipeline.applied
        applied.position(None)
        series = describe_series(pipeline)
    source = applied.source
    ui.out.print(f"Linux {source.version}: {source.label}", markup=False, soft_wrap=True)
    for position in applied.positions:
        line = f"{position.number:3}  {position.commit[:12]}  {position.subject}"
        ui.out.print(line, markup=False, soft_wrap=True)
    for line in series_lines(series):
        ui.out.print(line, markup=False, soft_wrap=True)
    write_json(
        args,
        {
            "version": source.version,
            "label": source.label,
            "base": source.base,
            "repo": str(source.repo),
            "series": to_plain(series),
        },
    )
    return int(ExitCode.PASSED)


def _config(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        config = pipeline.configure()
        text = pipeline.explain(args.explain) if args.explain else None
    if text is not None:
        ui.out.print(text, markup=False, soft_wrap=True)
    else:
        ui.out.print(f"{config.path}: all {len(config.requests)} requested symbols survived")
    write_json(
        args,
        {
            "profile": pipeline.profile.name,
            "config": str(config.path),
            "requests": [
                {"symbol": r.symbol, "value": r.value, "file": str(r.file), "line": r.line}
                for r in config.requests
            ],
            "explanation": text,
        },
    )
    return int(ExitCode.PASSED)


def _build(args: argparse.Namespace, ui: Ui) -> int:
    if args.positions is not None:
        return _build_several(args, ui)
    with ui.progress(Pace(Store()).seconds) as progress:
        facts = _build_one(pipeline_of(args, progress), ui)
    write_json(args, to_plain(facts))
    return int(ExitCode.PASSED)


def _build_one(pipeline: Pipeline, ui: Ui) -> Provenance:
    build = pipeline.build()
    image = pipeline.image(build)
    facts = facts_of(pipeline)
    how = "from the cache" if build.cached else f"built in {duration(build.seconds)}"
    ui.line(Text(f"kernel {build.release} ({how}): {build.image}"))
    ui.line(Text(f"image {image.size_bytes / 1e6:.1f} MB: {image.initrd}"))
    for warning in facts.kernel.new_warnings or ():
        ui.line(Text(f"new warning: {warning}", style="yellow"))
    return facts


def _build_several(args: argparse.Namespace, ui: Ui) -> int:
    """Build every position that can be built, and say what is wrong with the others."""
    if args.position is not None:
        raise InputError("--position (or HARNESS_POSITION) and --positions exclude each other")
    built, failed = [], False
    with ui.progress(Pace(Store()).seconds) as progress:
        first = pipeline_of(args, progress)
        for position in parse_positions(args.positions, first.applied.last):
            target = dataclasses.replace(first.target, position=position)
            try:
                built.append(_build_one(Pipeline(target, first.store, progress), ui))
            except (SeriesError, BuildError, KconfigError) as error:
                ui.error(error)
                failed = True
    write_json(args, to_plain(built))
    return int(ExitCode.BAD_INPUT if failed else ExitCode.PASSED)


def _boot(args: argparse.Namespace, ui: Ui) -> int:
    with ui.progress() as progress:
        pipeline = pipeline_of(args, progress)
        pipeline.check_machine()
        build = pipeline.build()
        words = (args.cmdline or "").split()
        if not args.timing:
            words.insert(0, "harness.console=1")
        if args.gdb:
            words.append("nokaslr")  # or no address fits vmlinux
        directory = results_directory(None, Path.cwd() / "results")
        machine = pipeline.machine(build, directory, cmdline=tuple(words), gdb=args.gdb)
        if args.timing:
            progress(Progress(f"booting {build.release}, and once more by kexec"))
            with contextlib.closing(machine):
                stages = (*boot_stages(machine), *kexec_stages(machine))
        else:
            machine.start()
    if args.timing:
        ui.out.print(stage_table(stages))
        return int(ExitCode.PASSED)
    with machine:
        ui.out.print(machine.how_to_attach(), markup=False, soft_wrap=True)
        machine.interact()
    return int(ExitCode.PASSED)
