# SPDX-License-Identifier: GPL-2.0-only
"""Which harness and suite these are, by content: only the same ones judge alike."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import harness
from harness.base.importing import module_file
from harness.base.spec import CONFIGS_DIR, PROJECT_ROOT
from harness.base.store import digest
from harness.base.suite import Suite, load_suite
from harness.kernel.toolchain import Toolchain


@functools.cache
def version_of(root: Path) -> str:
    """Return a key of the harness and of the suite in *root*, whatever their paths are.

    Mutants are not in it: they travel, as any patch of the user's does.
    """
    return digest("version", harness.__version__, *_parts(load_suite(root)))


def toolchain_key(toolchain: Toolchain) -> str:
    """Return a key of what compiles: kernels of the same one are the same."""
    return digest("toolchain", toolchain.compiler, toolchain.linker)


def _parts(suite: Suite) -> Iterator[Path]:
    yield Path(harness.__file__).parent
    yield from (CONFIGS_DIR, PROJECT_ROOT / "images")
    yield from (suite.file, suite.tests, *suite.verbs)
    yield from (module.source for module in suite.modules)
    yield from (path for path in (suite.support, suite.known_issues) if path is not None)
    yield from (suite.image.path, *suite.image.programs)
    if suite.image.overlay is not None:
        yield suite.image.overlay
    if suite.series is not None and Path(suite.series).exists():
        yield Path(suite.series)
    for profile in suite.profiles.values():
        yield from profile.fragments
    for plugin in suite.plugins:
        found = module_file(suite.root, plugin)
        yield from sorted(found.parent.glob("*.py")) if found is not None else ()
