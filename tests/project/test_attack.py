# SPDX-License-Identifier: GPL-2.0-only
"""A patch on the real kernel whose makefile, Kconfig and host program attack gets nowhere."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest
from strangers import Victim, victim

from harness.kernel.build import KernelBuild
from harness.kernel.source import git
from harness.run.pipeline import Pipeline

__all__ = ["victim"]

pytestmark = [pytest.mark.machinery, pytest.mark.profiles("default")]

HEADER = "From: A U Thor <a@example.com>\nSubject: [PATCH] kbuild: help\n\nIt helps.\n---\n"
KCONFIG = """
config STRANGER
	def_bool "$(shell,sh $(srctree)/attack.sh kconfig attack.log)" = "x"
"""
TOP = "$(abspath $(or $(srcroot),$(srctree),.))"
MAKEFILE = f"\n$(shell sh {TOP}/attack.sh makefile attack.log)\n"
PROGRAM = 'system("sh " SOURCES "/attack.sh program attack.log");'


def patch(victim: Victim, pipeline: Pipeline, directory: Path) -> Path:
    """Write a patch that attacks wherever a build runs what the tree brings."""
    before = {}
    for name in (
        "Makefile",
        "init/Kconfig",
        "init/main.c",
        "scripts/kallsyms.c",
        "scripts/Makefile",
    ):
        before[name] = git(pipeline.source.repo, "show", f"{pipeline.position().commit}:{name}")
    texts = {name: done.stdout for name, done in before.items()}
    main = "int main(int argc, char **argv)\n{\n"
    assert main in texts["scripts/kallsyms.c"]
    after = texts | {
        "attack.sh": victim.script,
        "Makefile": texts["Makefile"] + MAKEFILE,
        # Never seen before: else nothing is configured, and nothing linked, which runs kallsyms.
        "init/Kconfig": f"{texts['init/Kconfig']}{KCONFIG}# {victim.name}\n",
        "init/main.c": f"{texts['init/main.c']}/* {victim.name} */\n",
        "scripts/Makefile": texts["scripts/Makefile"]
        + "\nHOSTCFLAGS_kallsyms.o := -DSOURCES='\"$(abspath $(srctree))\"'\n",
        "scripts/kallsyms.c": texts["scripts/kallsyms.c"].replace(main, f"{main}\t{PROGRAM}\n"),
    }
    for top, files in (("a", texts), ("b", after)):
        for name, text in files.items():
            (directory / top / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / top / name).write_text(text)
    words = ["git", "diff", "--no-index", "--no-prefix", "a", "b"]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True)
    file = directory / "stranger.patch"
    file.write_text(HEADER + "\n" + done.stdout)
    return file


def logs(pipeline: Pipeline) -> list[Path]:
    """Return what the script said in object trees: they stay as they are when others come."""
    top = pipeline.source.repo.parent
    return [*top.glob("obj-*/attack.log"), *top.glob("tree-*/obj-*/attack.log")]


def test_patch_that_attacks_gets_nowhere(
    pipeline: Pipeline, shipped_kernel: KernelBuild, victim: Victim, tmp_path: Path
) -> None:
    extra = patch(victim, pipeline, tmp_path)
    target = dataclasses.replace(pipeline.target, extra=(extra,), sandbox="require")
    stranger = Pipeline(target, pipeline.store, lambda _progress: None)
    spec = stranger._build_spec(stranger.position())
    for log in logs(pipeline):  # of an earlier build in these trees
        log.unlink()
    # Else it would not be built, and nothing would run.
    pipeline.store.remove("build", spec.key)
    build = stranger.build()
    try:
        assert build.no_sandbox == ""
        (log,) = logs(pipeline)
        victim.check(log, "kconfig", "makefile", "program")
        assert victim.got() == set()
    finally:
        pipeline.store.remove("build", spec.key)
