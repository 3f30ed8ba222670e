# SPDX-License-Identifier: GPL-2.0-only
"""What the user asks for, as frozen values: kernels, profiles, images, machines."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.base.arch import architecture
from harness.base.errors import SpecError
from harness.base.strict_yaml import Section, read_yaml

_PACKAGE = Path(__file__).resolve().parents[1]
PROJECT_ROOT = _PACKAGE / "_data" if (_PACKAGE / "_data").is_dir() else _PACKAGE.parent
"""What holds ``kernel-configs/``, ``images/`` and the shipped suite: the checkout, or what a
wheel brings along."""

CONFIGS_DIR = PROJECT_ROOT / "kernel-configs"
PROFILES_FILE = CONFIGS_DIR / "profiles.yaml"
KERNELS_FILE = CONFIGS_DIR / "kernels.yaml"
DEFAULT_CC = "gcc"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSpec:
    """A file of a distribution's package, pinned by content.

    :param name: the binary package.
    :param version: its exact version.
    :param filename: the name it is downloaded under.
    :param sha256: its SHA-256 in hex.
    :param size_bytes: its size.
    :param pool: its path below a mirror's root.
    :param urls: further places to ask when no mirror has it.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size_bytes: int
    pool: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSpec:
    """A branch of a remote git repository.

    :param urls: places to fetch it from; the next is asked when one fails.
    :param branch: its name.
    """

    urls: tuple[str, ...]
    branch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSpec:
    """Which kernel tree to test.

    Exactly one of *path*, *package* and *git* is set.

    :param path: a git work tree or repository, a tarball, or a source package (``.deb``).
    :param base: the revision to start from when *path* is a git tree, ``None`` is its ``HEAD``; or
        the branch or tag to take of *git* instead of its own branch.
    :param package: a pinned package to look for in the download directories and at the mirrors.
    :param git: a branch that is fetched.
    """

    path: Path | None = None
    base: str | None = None
    package: PackageSpec | None = None
    git: GitSpec | None = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.path, self.package, self.git)) != 1:
            raise SpecError("a kernel is a path, a package or a branch, and one of them only")

    @property
    def what(self) -> str:
        """What it is, for people: a path, a package and its version, or a branch."""
        if self.package is not None:
            return f"{self.package.name} {self.package.version}"
        if self.git is not None:
            return f"{self.base or self.git.branch} of {self.git.urls[0]}"
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSpec:
    """One way to configure and run the kernel.

    :param fragments: configuration fragments, applied in this order.
    :param cmdline: kernel parameters.
    :param memory_mib: the guest's memory.
    :param cpus: virtual CPUs.
    :param timeout_scale: factor on every deadline; 1.0 is a small kernel under KVM.
    :param make: variables for make, such as ``GCOV_PROFILE_x.o=y``.
    """

    name: str
    description: str
    fragments: tuple[Path, ...]
    cmdline: tuple[str, ...]
    memory_mib: int
    cpus: int
    timeout_scale: float
    make: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What goes into the guest's root file system.

    :param path: the recipe that this was read from.
    :param packages: Debian packages to unpack.
    :param files: destination in the guest -> path inside the unpacked packages.
    :param links: destination in the guest -> target of the symbolic link.
    :param directories: directories to make.
    :param overlay: a directory of files to lay over everything, or ``None``.
    :param programs: C files, each of which becomes a program in ``/bin``.
    """

    name: str
    path: Path
    packages: tuple[str, ...]
    files: Mapping[str, str]
    links: Mapping[str, str]
    directories: tuple[str, ...]
    overlay: Path | None
    programs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """One virtual machine, ready to be turned into a QEMU command line.

    :param arch: the architecture's name, see :mod:`harness.base.arch`.
    :param qemu: the QEMU program.
    :param initrds: cpio archives; they are concatenated in this order.
    :param accel: ``"kvm"`` or ``"tcg"``, already chosen.
    :param timeout_scale: factor on every deadline, accelerator and profile taken together.
    :param extra_args: further QEMU arguments, last on the line.
    """

    arch: str
    qemu: str
    kernel: Path
    initrds: tuple[Path, ...]
    cmdline: tuple[str, ...]
    memory_mib: int
    cpus: int
    accel: str
    timeout_scale: float
    extra_args: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One unit of work: what is under test and how it is run.

    :param suite: the suite's directory (see :mod:`harness.base.suite`).
    :param series: where the patches come from (see :func:`harness.kernel.series.read_series`);
        ``None`` tests the tree as it is.
    :param position: how many patches are applied; ``None`` is all of them.
    :param profile: the profile's name.
    :param accel: ``"auto"``, ``"kvm"`` or ``"tcg"``.
    :param arch: the guest's architecture, as ``uname -m`` says it.
    :param jobs: parallel compilers; ``None`` is one for each CPU of the host.
    :param extra: files of patches that go on top of the position, in this order.
    :param cc: the compiler of all that runs in the guest: a program's name or absolute path.
    :param qemu: the path of the QEMU program; ``None`` is the architecture's on ``PATH``.
    :param sandbox: whether what the tree runs is in one (:data:`harness.base.sandbox.MODES`).
    """

    suite: Path
    kernel: KernelSpec
    series: str | None
    position: int | None
    profile: str
    accel: str
    arch: str
    jobs: int | None = None
    extra: tuple[Path, ...] = ()
    cc: str = DEFAULT_CC
    qemu: Path | None = None
    sandbox: str = "auto"

    @property
    def kind(self) -> str:
        """The profile, and the architecture where it is not the host's: ``default@aarch64``."""
        return self.profile if architecture(self.arch).is_host else f"{self.profile}@{self.arch}"

    def of_kind(self, word: str) -> Target:
        """Return the target with another profile, and another architecture if *word* has one.

        The QEMU that was asked for is not for that one.

        :raises SpecError: when there is no such architecture.
        """
        profile, _, name = word.partition("@")
        arch = architecture(name or self.arch).name
        qemu = self.qemu if arch == self.arch else None
        return replace(self, profile=profile, arch=arch, qemu=qemu)


# -- read from YAML ------------------------------------------------------------------------


@functools.cache
def load_kernels(file: Path = KERNELS_FILE) -> dict[str, KernelSpec]:
    """Read the kernels that have a name.

    :raises SpecError: on anything that is not such a list.
    """
    kernels: dict[str, KernelSpec] = {}
    with read_yaml(file, "kernels") as top:
        for name in top.keys():  # noqa: SIM118 - a Section is no dict
            with top.section(name) as item:
                if "branch" in item:
                    branch = GitSpec(urls=item.texts("urls"), branch=item.value("branch", str))
                    kernels[name] = KernelSpec(git=branch)
                else:
                    kernels[name] = KernelSpec(package=_package(item))
    return kernels


def _package(item: Section) -> PackageSpec:
    return PackageSpec(
        name=item.value("package", str),
        version=item.value("version", str),
        filename=item.value("filename", str),
        sha256=item.value("sha256", str),
        size_bytes=item.value("size_bytes", int),
        pool=item.value("pool", str),
        urls=item.texts("urls", ()),
    )


def load_profiles(file: Path = PROFILES_FILE) -> dict[str, ProfileSpec]:
    """Read all profiles; fragments are looked for beside the file.

    :raises SpecError: on anything that is not a profile, or a fragment that does not exist.
    """
    with read_yaml(file, "profiles") as top:
        return read_profiles(top, (file.parent,))


def read_profiles(section: Section, places: Sequence[Path]) -> dict[str, ProfileSpec]:
    """Read the profiles of a mapping: name -> profile.

    :param places: directories to look for fragments in, in this order.
    :raises SpecError: on anything that is not a profile, or a fragment that does not exist.
    """
    profiles: dict[str, ProfileSpec] = {}
    for name in section.keys():  # noqa: SIM118 - a Section is no dict
        with section.section(name) as item:
            profiles[name] = _profile(name, item, places)
    return profiles


def find_fragment(section: Section, key: str, text: str, places: Sequence[Path]) -> Path:
    """Return the configuration fragment that *key* of a section names.

    :raises SpecError: when it is in none of the directories.
    """
    for place in places:
        if (place / text).is_file():
            return place / text
    looked = " or ".join(str(place) for place in places)
    raise section.error(key, f"no such fragment: {text}", hint=f"looked for in {looked}")


def _profile(name: str, item: Section, places: Sequence[Path]) -> ProfileSpec:
    fragments = tuple(
        find_fragment(item, "fragments", text, places) for text in item.texts("fragments")
    )
    memory_mib = item.value("memory_mib", int)
    cpus = item.value("cpus", int, 2)
    scale = float(item.value("timeout_scale", (int, float), 1.0))
    for key, number, least in (
        ("memory_mib", memory_mib, 64),
        ("cpus", cpus, 1),
        ("timeout_scale", scale, 0.1),
    ):
        if number < least:
            raise item.error(key, f"{key} must be at least {least}, not {number}")
    make = item.texts("make", ())
    for word in make:
        if not re.fullmatch(r"[A-Za-z_][\w.]*=\S*", word):
            raise item.error("make", f"{word!r} is no variable for make", hint="such as NAME=value")
    return ProfileSpec(
        name=name,
        description=item.value("description", str),
        fragments=fragments,
        cmdline=item.texts("cmdline", ()),
        memory_mib=memory_mib,
        cpus=cpus,
        timeout_scale=scale,
        make=make,
    )


def load_image(file: Path) -> ImageSpec:
    """Read an image recipe; its overlay is looked for beside the file.

    :raises SpecError: on anything that is not a recipe, or an overlay that does not exist.
    """
    with read_yaml(file, "image") as top:
        overlay_name = top.value("overlay", str, "")
        overlay = file.parent / overlay_name if overlay_name else None
        if overlay is not None and not overlay.is_dir():
            raise top.error("overlay", f"no such directory: {overlay}")
        return ImageSpec(
            name=top.value("name", str),
            path=file,
            packages=top.texts("packages"),
            files=top.mapping("files"),
            links=top.mapping("links", {}),
            directories=top.texts("directories", ()),
            overlay=overlay,
        )


def download_directories() -> tuple[Path, ...]:
    """Return the directories of ``HARNESS_DOWNLOADS`` (colon-separated) that exist."""
    configured = os.environ.get("HARNESS_DOWNLOADS", "")
    return tuple(Path(text) for text in configured.split(":") if text and Path(text).is_dir())
