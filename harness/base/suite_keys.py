# SPDX-License-Identifier: GPL-2.0-only
"""The keys of ``suite.yaml`` in words, for the reference; :mod:`harness.base.suite` reads them."""

from __future__ import annotations

KEYS = {
    "name": "a-z, 0-9, - and _; names object trees and results",
    "description": "one line",
    "kernel": "the default for --kernel: a name of kernels.yaml, or a path with a / in it",
    "series": "the default for --series: an mbox, a maildir, a directory of patches, or A..B",
    "support": "directory of patches under every position; its support.yaml says why, and how a "
    "tree that needs one no more is known",
    "arch": "the default for --arch: the guests' architecture, as uname -m says it",
    "fragments": "configuration fragments for every kernel: looked for here, then in "
    "kernel-configs/",
    "cmdline": "kernel parameters of every guest",
    "profiles": "further profiles by name, or others of the same name than the framework's",
    "profiles.description": "one line",
    "profiles.fragments": "configuration fragments, in this order",
    "profiles.cmdline": "kernel parameters",
    "profiles.make": "variables for make, such as GCOV_PROFILE_x.o=y",
    "profiles.memory_mib": "the guest's memory in MiB",
    "profiles.cpus": "virtual CPUs (default: 2)",
    "profiles.timeout_scale": "factor on every deadline (default: 1.0)",
    "matrix": "profiles of a matrix for which none is named (default: the profile default); "
    "default@aarch64 is that profile on another architecture",
    "image": "recipe of the guest's root file system, instead of images/initramfs.yaml",
    "programs": "C files; each is linked statically and becomes a program in /bin",
    "verbs": "C files that add verbs to the guest's agent",
    "headers": "what those include of the kernel's interface, such as linux/vfio.h",
    "modules": "kernel modules that are built out of tree for every kernel",
    "modules.name": "as /proc/modules has it",
    "modules.source": "directory with its Kbuild, which makes NAME.ko",
    "selftests": "selftests of the kernel tree that are built for the guest",
    "selftests.directory": "below tools/testing/selftests",
    "selftests.programs": "as its Makefile builds them; what a tree does not have is left out",
    "features": "what differs between kernels, by name: what hangs on it names it",
    "features.description": "what a kernel with it does, one line",
    "features.file": "path in the tree that is there, and matches contains",
    "features.contains": "regular expression for text of that file",
    "features.symbol": "Kconfig symbol that the tree has, instead of a file",
    "features.macro": "what the modules find defined where the tree has it",
    "features.series": "true: a tree that has it without patches has all that the series brings",
    "features.fixes": "the bug that a tree without it has, one line; a run tells it",
    "features.fixed_in": "the first release with that fix, in quotation marks",
    "needs": "features without which a tree is not tested at all",
    "preconditions": "what a guest must have before a test says anything",
    "preconditions.files": "paths that must exist",
    "preconditions.refused": "regular expressions for lines of the kernel log that must not be",
    "preconditions.reason": "regular expression for the line that says why a file is missing",
    "preconditions.hint": "what a person can do",
    "known_issues": "list of splats of base kernels that are shown and fail no test",
    "tests": "directory of pytest files",
    "mutants": "directory of wrong patches that the tests must notice",
    "compat": "what pairs of kernels come to: from -> to -> carried, refused, lost or crashed",
    "coverage": "which source files count",
    "coverage.files": "a regular expression for their paths",
    "coverage.reasons": "file that says why lines cannot be reached",
    "plugins": "pytest plugins that the tests need, as importable names; looked for in the "
    "suite's directory too",
    "sections": "how what the tests enter into the results is shown: key -> module:NAME, the name "
    "of a Section in a module that is looked for as plugins are",
}
"""What each key of the file is; ``a.b`` stands for the key b of each thing in a."""
