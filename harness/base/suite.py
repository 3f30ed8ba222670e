# SPDX-License-Identifier: GPL-2.0-only
"""A suite: what is under test, as a directory with a ``suite.yaml`` says it.

The framework knows kernels, patches, machines and tests.  What a series is about stands in its
suite: which kernel and series, what every kernel of it is configured with, what goes into the
guest, and the tests.  Everything but a name and tests may be left out.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.arch import ARCHITECTURES, architecture
from harness.base.errors import SpecError
from harness.base.features import FeatureSpec, find_feature, read_features, read_needs
from harness.base.importing import ObjectSpec, read_objects, read_plugins
from harness.base.mutation import MutationSpec, read_mutation
from harness.base.spec import (
    CONFIGS_DIR,
    PROJECT_ROOT,
    ImageSpec,
    ProfileSpec,
    find_fragment,
    load_image,
    load_profiles,
    read_profiles,
)
from harness.base.strict_yaml import Section, read_yaml
from harness.base.text import path_of

FILE = "suite.yaml"
"""What makes a directory a suite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSpec:
    """A kernel module that is built out of tree.

    :param name: as ``/proc/modules`` has it; the source makes ``NAME.ko``.
    :param source: the directory with its ``Kbuild``.
    """

    name: str
    source: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestSpec:
    """Selftests of the kernel tree that are built for the guest.

    :param directory: below ``tools/testing/selftests``.
    :param programs: as its Makefile builds them; those that a tree does not have are left out.
    """

    directory: str
    programs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preconditions:
    """What a guest must have before a test in it says anything about the kernel.

    :param files: paths that must exist.
    :param refused: regular expressions for lines of the kernel log; one is enough to refuse.
    :param reason: a regular expression for the line of the log that says why a file is missing.
    :param hint: what a person can do.
    """

    files: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageSpec:
    """Which source files count.

    :param files: a regular expression for their paths.
    :param reasons: a file that says why lines cannot be reached, or ``None``.
    """

    files: str
    reasons: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is under test.

    :param description: one line.
    :param root: the directory that it is in.
    :param kernel: the default kernel: a name of ``kernels.yaml`` or a path; ``None`` for none.
    :param series: where the default series is, as ``--series`` takes it; ``None`` for none.
    :param support: a directory of patches under every position (``support.yaml``), or ``None``.
    :param arch: the default architecture of guests; ``None`` is the host's.
    :param profiles: by name; each with the suite's own fragments and kernel parameters.
    :param matrix: the profiles of a matrix for which none is named.
    :param image: the guest's root file system.
    :param verbs: C files that add verbs to the guest's agent.
    :param headers: what those include of the kernel's interface, below ``/usr/include``.
    :param needs: names of *features* without which a tree is not tested.
    :param idle: what a guest holds while nothing runs -> the shell command that counts it.
    :param complaints: regular expressions for lines of the kernel log in which the suite's own
        modules say that the kernel did something wrong; each is a splat.
    :param known_issues: a file of splats that fail no test, or ``None``.
    :param tests: a directory of pytest files.
    :param mutants: a directory of wrong patches that the tests must notice, or ``None``.
    :param fixes: a directory of patches for bugs that the series leaves alone, or ``None``.
    :param mutation: which wrong changes are made of its files, or ``None``.
    :param compat: a file that states what pairs of kernels come to, or ``None``.
    :param plugins: pytest plugins that the tests need, as importable names.
    :param sections: key of the results' extras -> the ``Section`` that shows it.
    """

    name: str
    description: str
    root: Path
    kernel: str | None
    series: str | None
    support: Path | None
    arch: str | None
    profiles: Mapping[str, ProfileSpec]
    matrix: tuple[str, ...]
    image: ImageSpec
    verbs: tuple[Path, ...]
    headers: tuple[str, ...]
    modules: tuple[ModuleSpec, ...]
    selftests: tuple[SelftestSpec, ...]
    features: tuple[FeatureSpec, ...]
    needs: tuple[str, ...]
    preconditions: Preconditions
    idle: Mapping[str, str]
    complaints: tuple[str, ...]
    known_issues: Path | None
    tests: Path
    mutants: Path | None
    fixes: Path | None
    mutation: MutationSpec | None
    compat: Path | None
    coverage: CoverageSpec | None
    plugins: tuple[str, ...]
    sections: Mapping[str, ObjectSpec]

    @property
    def file(self) -> Path:
        """The ``suite.yaml``."""
        return self.root / FILE

    def profile(self, name: str) -> ProfileSpec:
        """Return the profile called *name*.

        :raises SpecError: when there is none.
        """
        try:
            return self.profiles[name]
        except KeyError:
            raise SpecError(
                f"no profile {name!r} in {self.file}",
                hint=f"known profiles: {', '.join(self.profiles)}",
            ) from None

    def check_kind(self, word: str) -> None:
        """Refuse what is no profile, with or without an architecture: ``default@aarch64``.

        :raises SpecError: when there is none of that name.
        """
        name, at, arch = word.partition("@")
        self.profile(name)
        if at:
            architecture(arch)

    def feature(self, name: str) -> FeatureSpec:
        """Return the feature called *name*.

        :raises SpecError: when there is none.
        """
        return find_feature(self.features, name, self.file)


def find_suite(given: str | None) -> Path:
    """Return the directory of the suite that is meant.

    :param given: what the user said; ``None`` takes the one in the current directory, else the
        shipped one.
    :raises SpecError: when there is no suite.
    """
    directory = path_of(given) if given else Path.cwd()
    if (directory / FILE).is_file():
        return directory.resolve()
    if given:
        raise SpecError(
            f"{directory}: no {FILE} there", hint="--suite names a directory that has one"
        )
    return PROJECT_ROOT


@functools.cache
def load_suite(root: Path) -> Suite:
    """Read the suite in a directory; relative paths in its file begin there.

    :raises SpecError: naming file and line, on anything that is not as it should be.
    """
    with read_yaml(root / FILE, "suite") as top:
        name = top.value("name", str)
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise top.error("name", f"{name!r} is no name", hint="a-z, 0-9, - and _")
        profiles = _profiles(top, root)
        return Suite(
            name=name,
            description=top.value("description", str, ""),
            root=root,
            kernel=_kernel(top, root),
            series=_series(top, root),
            support=_path(top, root, "support"),
            arch=_arch(top),
            profiles=profiles,
            matrix=_matrix(top, profiles),
            image=_image(top, root),
            verbs=_files(top, root, "verbs"),
            headers=top.texts("headers", ()),
            modules=tuple(_modules(top, root)),
            selftests=tuple(_selftests(top)),
            features=(features := read_features(top)),
            needs=read_needs(top, features),
            preconditions=_preconditions(top),
            idle=top.mapping("idle", {}),
            complaints=top.patterns("complaints", ()),
            known_issues=_path(top, root, "known_issues", directory=False),
            tests=_existing(top, root, "tests", top.value("tests", str)),
            mutants=_path(top, root, "mutants"),
            fixes=_path(top, root, "fixes"),
            mutation=_mutation(top, root),
            compat=_path(top, root, "compat", directory=False),
            coverage=_coverage(top, root),
            plugins=read_plugins(top, root),
            sections=read_objects(top, "sections", root),
        )


def _path(section: Section, root: Path, key: str, *, directory: bool = True) -> Path | None:
    text: str | None = section.value(key, str, None)
    return None if text is None else _existing(section, root, key, text, directory=directory)


def _existing(section: Section, root: Path, key: str, text: str, *, directory: bool = True) -> Path:
    path = Path(os.path.normpath(root / text))
    if not path.exists():
        raise section.error(key, f"{key}: there is no {path}")
    if path.is_dir() is not directory:
        raise section.error(key, f"{key}: {path} is {'no' if directory else 'a'} directory")
    return path


def _files(section: Section, root: Path, key: str) -> tuple[Path, ...]:
    paths = tuple(Path(os.path.normpath(root / text)) for text in section.texts(key, ()))
    for path in paths:
        if not path.is_file():
            raise section.error(key, f"{key}: there is no file {path}")
    return paths


def _image(top: Section, root: Path) -> ImageSpec:
    """Return the framework's root file system, or the suite's own, with the suite's programs."""
    image = load_image(
        _path(top, root, "image", directory=False) or PROJECT_ROOT / "images/initramfs.yaml"
    )
    return dataclasses.replace(image, programs=_files(top, root, "programs"))


def _series(top: Section, root: Path) -> str | None:
    text: str | None = top.value("series", str, None)
    if text is None or re.fullmatch(r"[^/]+\.\.[^/]+", text):
        return text  # or a range of the tree's commits
    path = Path(os.path.normpath(root / text))
    if not path.exists():
        raise top.error("series", f"series: there is no {path}")
    return str(path)


def _kernel(top: Section, root: Path) -> str | None:
    text: str | None = top.value("kernel", str, None)
    if text is None or "/" not in text:
        return text
    return str((root / path_of(text)).resolve())


def _arch(top: Section) -> str | None:
    name: str | None = top.value("arch", str, None)
    try:
        return None if name is None else architecture(name).name
    except SpecError as error:
        raise top.error("arch", error.message, hint=error.hint) from error


def _profiles(top: Section, root: Path) -> dict[str, ProfileSpec]:
    """Return the framework's profiles and the suite's, each with what the suite adds to all."""
    places = (root, CONFIGS_DIR)
    fragments = tuple(
        find_fragment(top, "fragments", text, places) for text in top.texts("fragments", ())
    )
    cmdline = top.texts("cmdline", ())
    profiles = load_profiles()
    if "profiles" in top:
        with top.section("profiles") as section:
            profiles |= read_profiles(section, places)
    return {
        name: dataclasses.replace(
            profile,
            fragments=profile.fragments + fragments,
            cmdline=(*cmdline, *profile.cmdline),
        )
        for name, profile in profiles.items()
    }


def _matrix(top: Section, profiles: Mapping[str, ProfileSpec]) -> tuple[str, ...]:
    names = top.texts("matrix", ("default",))
    for word in names:
        name, at, arch = word.partition("@")
        if name not in profiles:
            known = ", ".join(profiles)
            raise top.error("matrix", f"matrix: no profile {name!r}", hint=f"known: {known}")
        if at and arch not in ARCHITECTURES:
            raise top.error("matrix", f"matrix: no architecture {arch!r}")
    if not names:
        raise top.error("matrix", "matrix: names no profile")
    return tuple(dict.fromkeys(names))


def _modules(top: Section, root: Path) -> list[ModuleSpec]:
    found: list[ModuleSpec] = []
    for item in top.sections("modules"):
        with item:
            source = _existing(item, root, "source", item.value("source", str))
            name = item.value("name", str)
            if not re.fullmatch(r"\w+", name) or name in {module.name for module in found}:
                raise item.error("name", f"{name!r} is no name of a module, or stands twice")
            found.append(ModuleSpec(name=name, source=source))
    return found


def _selftests(top: Section) -> list[SelftestSpec]:
    found = []
    for item in top.sections("selftests"):
        with item:
            found.append(
                SelftestSpec(
                    directory=item.value("directory", str),
                    programs=item.texts("programs"),
                )
            )
    return found


def _preconditions(top: Section) -> Preconditions:
    if "preconditions" not in top:
        return Preconditions()
    with top.section("preconditions") as section:
        return Preconditions(
            files=section.texts("files", ()),
            refused=section.patterns("refused", ()),
            reason=section.pattern("reason", ""),
            hint=section.value("hint", str, ""),
        )


def _coverage(top: Section, root: Path) -> CoverageSpec | None:
    if "coverage" not in top:
        return None
    with top.section("coverage") as section:
        return CoverageSpec(
            files=section.pattern("files"),
            reasons=_path(section, root, "reasons", directory=False),
        )


def _mutation(top: Section, root: Path) -> MutationSpec | None:
    if "mutation" not in top:
        return None
    with top.section("mutation") as section:
        return read_mutation(section, _path(section, root, "equivalent", directory=False))
