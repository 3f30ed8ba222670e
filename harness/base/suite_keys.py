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
    "idle": "what a guest holds while nothing runs: name -> shell command that prints how much; a "
    "test fails when there is more after it than before",
    "complaints": "regular expressions for lines in which its modules complain of the kernel",
    "known_issues": "list of splats of base kernels that are shown and fail no test",
    "tests": "directory of pytest files",
    "mutants": "directory of wrong patches that the tests must notice",
    "fixes": "directory of patches for bugs that the series leaves alone, see harness bugs",
    "mutation": "which wrong changes harness mutants --generated makes",
    "mutation.files": "C files of the kernel tree that are changed, function by function",
    "mutation.drop": "regular expressions for functions: their calls are left out, one at a time",
    "mutation.double": "the same: their calls are made twice",
    "mutation.instead": "function -> what stands in its place where its value is used",
    "mutation.rename": "name -> the name that it is taken for",
    "mutation.locks": "function that locks -> the one that unlocks: both are left out; guard() and "
    "scoped_guard() are known",
    "mutation.assign": "regular expressions for what is assigned to, where that is left out",
    "mutation.swap": "statements that change places",
    "mutation.swap.function": "that they are in",
    "mutation.swap.first": "regular expression for the beginning of the one that comes first",
    "mutation.swap.second": "the same for the other one",
    "mutation.profiles": "operator, or mutant with * for any text -> profile that can notice it "
    "(default: default)",
    "mutation.first": "the same -> regular expression for tests that are tried before shorter ones",
    "mutation.at_reboot": "regular expressions for functions on the way to the next kernel, or "
    "while that boots, where gcov's counts are lost: each test that goes there tries them",
    "mutation.equivalent": "list of mutants (* is any text) that no test can notice, with a reason",
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
