# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root file system: from a recipe to an initramfs, without root.

The image is the same, byte for byte, whenever it is made from the same inputs.  What belongs to
one host or one build (SSH keys, the test module) goes into archives of its own, and the kernel
unpacks one after the other (``Documentation/driver-api/early-userspace/buffer-format.rst``).
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import BuildError, CommandError, SpecError
from harness.base.progress import OnProgress, Progress
from harness.base.sandbox import open_sandbox
from harness.base.spec import ImageSpec
from harness.base.store import Store, digest
from harness.base.timeouts import HOST
from harness.guest import archive
from harness.guest.packages import fetch_packages

log = logging.getLogger(__name__)

AGENT_SOURCES = Path(__file__).parent / "agent"
"""The guest's end of every connection; see its README."""

_MAKERS = (Path(__file__), Path(archive.__file__))
"""The code that decides, with the recipe, what comes out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A root file system, in the cache.

    :param initrd: the archive.
    :param key: its cache key.
    """

    initrd: Path
    key: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageContent:
    """What an image is made of, besides the packages that its recipe names.

    :param verbs: C files that add verbs to the guest's agent.
    :param headers: what those include of the tree under test's interface.
    :param uapi: the directory that should have the *headers*.
    :param cc: the compiler's program.
    :param compiler: how it names itself and its version.
    :param sandbox: one of :data:`harness.base.sandbox.MODES`: a header may name any file of the
        host, and its text goes into the program.
    """

    recipe: ImageSpec
    verbs: tuple[Path, ...]
    headers: tuple[str, ...]
    arch: Architecture
    uapi: Path
    cc: str
    compiler: str
    sandbox: str = "auto"

    def key(self, packages: Path) -> str:
        """Return the image's cache key."""
        parts = (*self.verbs, *self.recipe.programs, self.uapi, *_MAKERS)
        overlay = (self.recipe.overlay,) if self.recipe.overlay is not None else ()
        return digest(
            *("image", self.arch.name, self.cc, self.compiler),
            *(self.recipe.path, packages, AGENT_SOURCES, *parts, *overlay),
        )


def build_image(content: ImageContent, store: Store, *, progress: OnProgress) -> Image:
    """Make the image, or take it from the cache.

    :raises SpecError: when the recipe names a file that no package holds.
    :raises DownloadError: when a package cannot be fetched.
    :raises BuildError: when a guest program does not compile or lacks a library.
    """
    for name in content.headers:
        if not (content.uapi / name).is_file():
            # A newer host may have one that would do for the compiler.
            raise BuildError(
                f"the tree under test has no {name}, which the guest's agent needs",
                hint="the suite names it: its kernel is not one that the suite is for",
            )
    packages = fetch_packages(content.recipe, arch=content.arch, store=store, progress=progress)
    key = content.key(packages)

    def make(directory: Path) -> None:
        progress(Progress("image", "building"))
        _assemble(content, packages, directory / "initrd.lz4")

    entry = store.get_or_make("image", key, make, waiting="it builds the image")
    initrd = entry / "initrd.lz4"
    return Image(initrd=initrd, key=key, size_bytes=initrd.stat().st_size)


def _assemble(content: ImageContent, packages: Path, target: Path) -> None:
    recipe = content.recipe
    with tempfile.TemporaryDirectory(prefix="harness-image-") as name:
        root = Path(name) / "root"
        for directory in ("bin", "lib", "etc", *recipe.directories):
            (root / directory).mkdir(parents=True, exist_ok=True)
        for destination, choices in recipe.files.items():
            _copy(_find(packages, choices, recipe), root / destination)
        for destination, pointed in recipe.links.items():
            (root / destination).parent.mkdir(parents=True, exist_ok=True)
            (root / destination).symlink_to(pointed)
        _build_agent(root / "bin", content)
        for program in recipe.programs:
            _build_program(program, root / "bin", content.cc)
        if recipe.overlay is not None:
            shutil.copytree(recipe.overlay, root, dirs_exist_ok=True)
        _add_libraries(root, packages)
        plain = Path(name) / "initrd.cpio"
        archive.write_archive(root, plain)
        archive.compress(plain, target)


def _build_agent(directory: Path, content: ImageContent) -> None:
    """Build the agent (``harness/guest/agent/README.md``) with the suite's verbs."""
    sources = f"EXTRA={' '.join(str(path.resolve()) for path in content.verbs)}"
    variables = (f"OUT={directory}", f"UAPI={content.uapi}", f"CC={content.cc}", sources)
    sandbox = open_sandbox(
        content.sandbox,
        writable=(directory,),
        readable=(AGENT_SOURCES, content.uapi, *(path.resolve().parent for path in content.verbs)),
        programs=(content.cc,),
    )
    try:
        sandbox.run(["make", "-s", "-C", AGENT_SOURCES, *variables], timeout_s=HOST.compile_s)
    except CommandError as error:
        if error.cut_short:
            raise
        raise BuildError(
            f"the guest's agent does not build: {error.message}",
            hint=f"sources: {', '.join(str(path) for path in (AGENT_SOURCES, *content.verbs))}",
        ) from error


def _build_program(source: Path, directory: Path, cc: str) -> None:
    """Build a program of the suite: one C file, linked statically."""
    prefix = f"-ffile-prefix-map={source.parent}=."
    words: list[str | Path] = [cc, "-O2", "-Wall", "-static", "-s", prefix, "-Wl,--build-id=none"]
    try:
        command.run([*words, "-o", directory / source.stem, source], timeout_s=HOST.compile_s)
    except CommandError as error:
        if error.cut_short:
            raise
        raise BuildError(f"{source} does not build: {error.message}") from error


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


def _find(packages: Path, choices: str, spec: ImageSpec) -> Path:
    for choice in choices.split("|"):
        path = packages / choice.strip()
        if path.is_file():
            return path
    raise SpecError(
        f"{spec.path}: no package holds {choices.strip()!r}",
        hint=f"packages: {', '.join(spec.packages)}",
    )


# -- shared libraries ----------------------------------------------------------------------

_NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[(.+)\]")
_INTERPRETER = re.compile(r"\[Requesting program interpreter: (.+)\]")


def _add_libraries(root: Path, packages: Path) -> None:
    """Copy what the dynamic programs in *root* need from the packages.

    :raises BuildError: naming the library and the program that needs it.
    """
    todo = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    while todo:
        program = todo.pop()
        with program.open("rb") as stream:
            if stream.read(4) != b"\x7fELF":
                continue
        text = command.run(["readelf", "-W", "-d", "-l", program], timeout_s=HOST.tool_s).stdout
        wanted = {f"lib/{name}": name for name in _NEEDED.findall(text)}
        wanted |= {name.lstrip("/"): name.rpartition("/")[2] for name in _INTERPRETER.findall(text)}
        for destination, name in sorted(wanted.items()):
            # The interpreter is a library as well, and finds itself.
            if not any(path.exists() for path in (root / destination, *root.rglob(name))):
                source = _library(packages, name)
                if source is None:
                    raise BuildError(
                        f"no package of the image holds {name}, "
                        f"which /{program.relative_to(root)} needs",
                        hint="add the package to the recipe",
                    )
                _copy(source, root / destination)
                todo.append(root / destination)


def _library(packages: Path, name: str) -> Path | None:
    for found in sorted(packages.rglob(name)):
        real = packages / os.path.relpath(found.resolve(), packages.resolve())
        if real.is_file():
            return real
    return None
