# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root file system: from a recipe to an initramfs, without root.

The image is the same, byte for byte, whenever it is made from the same inputs.  What belongs to
one host or one build (SSH keys, the test module) goes into archives of its own, and the kernel
unpacks one after the other (``Documentation/driver-api/early-userspace/buffer-format.rst``).
"""

from __future__ import annotations

import base64
import logging
import os
import re
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import BuildError, CommandError, DownloadError, SpecError
from harness.base.spec import ImageSpec, download_directories
from harness.base.store import Store, digest

log = logging.getLogger(__name__)

DOWNLOAD_S = 300.0
"""Seconds for fetching the packages."""

AGENT_SOURCES = Path(__file__).parent / "agent"
"""The guest's end of every connection; see its README."""

_EPOCH = 0
"""Modification time of everything in an archive."""


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
class GuestKeys:
    """Who may log in to a guest, and how the guest proves itself.

    :param client: our private key, OpenSSH format, mode 0600.
    :param host_public: the guest's public key: the wire form in base64.
    :param archive: authorized_keys and the guest's private key, to go with the image.
    """

    client: Path
    host_public: str
    archive: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Initrd:
    """The archives of one build's initrd; the kernel unpacks one after the other.

    :param shared: the same for every build of a tree's interface.
    :param own: what belongs to the build and to every kernel of a machine: the test module.
    :param first: what only the kernel that QEMU boots has: each live update hashes its initrd
        twice and unpacks it, so the next ones go without.
    """

    shared: tuple[Path, ...]
    own: Path
    first: Path

    @property
    def parts(self) -> tuple[Path, ...]:
        """All of them, in order."""
        return (*self.shared, self.own, self.first)

    @property
    def next_bytes(self) -> int:
        """How many bytes of them the next kernel of a machine is given."""
        return sum(_aligned(part.stat().st_size) for part in (*self.shared, self.own))


def build_image(
    spec: ImageSpec,
    *,
    verbs: Sequence[Path],
    headers: Sequence[str],
    arch: Architecture,
    uapi: Path,
    compiler: tuple[str, str],
    store: Store,
    progress: Callable[[str], None],
) -> Image:
    """Make the image, or take it from the cache.

    :param verbs: C files that add verbs to the guest's agent.
    :param headers: what those include of the tree under test's interface.
    :param compiler: its program, and how it names itself and its version.
    :param uapi: the directory that should have the *headers*.
    :raises SpecError: when the recipe names a file that no package holds.
    :raises DownloadError: when a package cannot be fetched.
    :raises BuildError: when a guest program does not compile or lacks a library.
    """
    for name in headers:
        if not (uapi / name).is_file():
            # A newer host may have one that would do for the compiler.
            raise BuildError(
                f"the tree under test has no {name}, which the guest's agent needs",
                hint="the suite names it: its kernel is not one that the suite is for",
            )
    packages = fetch_packages(spec, arch=arch, store=store, progress=progress)
    inputs = (spec.path, packages, AGENT_SOURCES, *verbs, *spec.programs, uapi, Path(__file__))
    key = digest("image", arch.name, *compiler, *inputs, *([spec.overlay] if spec.overlay else []))

    def make(directory: Path) -> None:
        progress("image: building")
        _assemble(spec, packages, verbs, uapi, compiler[0], directory / "initrd.lz4")

    entry = store.get_or_make("image", key, make, waiting="it builds the image")
    initrd = entry / "initrd.lz4"
    return Image(initrd=initrd, key=key, size_bytes=initrd.stat().st_size)


def _assemble(
    spec: ImageSpec, packages: Path, verbs: Sequence[Path], uapi: Path, cc: str, target: Path
) -> None:
    with tempfile.TemporaryDirectory(prefix="harness-image-") as name:
        root = Path(name) / "root"
        for directory in ("bin", "lib", "etc", *spec.directories):
            (root / directory).mkdir(parents=True, exist_ok=True)
        for destination, choices in spec.files.items():
            _copy(_find(packages, choices, spec), root / destination)
        for destination, pointed in spec.links.items():
            (root / destination).parent.mkdir(parents=True, exist_ok=True)
            (root / destination).symlink_to(pointed)
        _build_agent(root / "bin", uapi, verbs, cc)
        for program in spec.programs:
            _build_program(program, root / "bin", cc)
        if spec.overlay is not None:
            shutil.copytree(spec.overlay, root, dirs_exist_ok=True)
        _add_libraries(root, packages)
        archive = Path(name) / "initrd.cpio"
        write_archive(root, archive)
        _compress(archive, target)


def _build_agent(directory: Path, uapi: Path, verbs: Sequence[Path], cc: str) -> None:
    """Build the agent (``harness/guest/agent/README.md``) with the suite's verbs."""
    sources = f"EXTRA={' '.join(str(path.resolve()) for path in verbs)}"
    variables = (f"OUT={directory}", f"UAPI={uapi}", f"CC={cc}", sources)
    try:
        command.run(["make", "-s", "-C", AGENT_SOURCES, *variables], timeout_s=300)
    except CommandError as error:
        raise BuildError(
            f"the guest's agent does not build: {error.message}",
            hint=f"sources: {', '.join(str(path) for path in (AGENT_SOURCES, *verbs))}",
        ) from error


def _build_program(source: Path, directory: Path, cc: str) -> None:
    """Build a program of the suite: one C file, linked statically."""
    prefix = f"-ffile-prefix-map={source.parent}=."
    words: list[str | Path] = [cc, "-O2", "-Wall", "-static", "-s", prefix, "-Wl,--build-id=none"]
    try:
        command.run([*words, "-o", directory / source.stem, source], timeout_s=300)
    except CommandError as error:
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


# -- packages ------------------------------------------------------------------------------


def fetch_packages(
    spec: ImageSpec, *, arch: Architecture, store: Store, progress: Callable[[str], None]
) -> Path:
    """Fetch and unpack the recipe's Debian packages; return the tree they make.

    They come from the download directories, else from where apt is configured to get them; apt
    needs no root to download.  Fetched once per host release and list of packages.

    :raises DownloadError: when one cannot be had.
    """
    release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    key = digest("packages", arch.debian, *spec.packages, release)

    def make(directory: Path) -> None:
        _download_and_unpack(spec, arch, directory, progress)

    return store.get_or_make("packages", key, make, waiting="it fetches packages") / "tree"


def _download_and_unpack(
    spec: ImageSpec, arch: Architecture, directory: Path, progress: Callable[[str], None]
) -> None:
    tree = directory / "tree"
    tree.mkdir()
    with tempfile.TemporaryDirectory(prefix="harness-packages-") as name:
        for number, choices in enumerate(spec.packages, 1):
            progress(f"image: package {number} of {len(spec.packages)}: {choices}")
            package = _local_package(choices, arch) or _download(choices, arch, Path(name))
            command.run(["dpkg-deb", "-x", package, tree], timeout_s=60)


def _local_package(choices: str, arch: Architecture) -> Path | None:
    for choice in choices.split("|"):
        for directory in download_directories():
            found = sorted(directory.glob(f"{choice.strip()}_*_{arch.debian}.deb"))
            if found:
                return found[-1]
    return None


def _download(choices: str, arch: Architecture, directory: Path) -> Path:
    said = ""
    for choice in choices.split("|"):
        name = choice.strip()
        try:
            command.run(
                ["apt-get", "-q", "download", f"{name}:{arch.debian}"],
                cwd=directory,
                timeout_s=DOWNLOAD_S,
                hint="'apt-get update' as root brings the package lists up to date",
            )
        except CommandError as error:
            said = error.message
            continue
        return max(directory.glob(f"{name}_*.deb"))
    raise DownloadError(
        f"cannot fetch the package {choices}: {said}",
        hint="run 'apt-get update' as root, or put the .deb into a directory of HARNESS_DOWNLOADS",
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
        text = command.run(["readelf", "-W", "-d", "-l", program], timeout_s=30).stdout
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


# -- archives ------------------------------------------------------------------------------


def write_archive(root: Path, target: Path) -> None:
    """Write everything below *root* as a cpio archive in ``newc`` form, reproducibly.

    Owner is root, times are the epoch, inode numbers are counted, names are sorted.
    """
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    for name in names:
        os.utime(root / name, (_EPOCH, _EPOCH), follow_symlinks=False)
        if (root / name).is_dir() and not (root / name).is_symlink():
            (root / name).chmod(0o755)
    done = command.run(
        ["cpio", "--quiet", "-0", "-o", "-H", "newc", "--reproducible", "-R", "0:0", "-F", target],
        cwd=root,
        input=b"".join(name.encode() + b"\0" for name in names),
        timeout_s=120,
    )
    log.debug("cpio: %s", done.stderr)


def _compress(archive: Path, target: Path) -> None:
    """Compress an archive with what an emulated CPU unpacks fast.

    A live update hashes it twice, at 33 MB/s under TCG, and the kernel unpacks it at hundreds.
    """
    # The kernel knows LZ4's legacy frames alone (lib/decompress_unlz4.c), ...
    command.run(["lz4", "-q", "-l", "-12", archive, target], timeout_s=120)
    with target.open("ab") as stream:
        # ... and where other archives follow, the size of a chunk that is zero ends them; after
        # that it looks for the next one at a multiple of four (init/initramfs.c).
        stream.write(b"\0" * (4 + -target.stat().st_size % 4))


def archive_of(files: Mapping[str, Path | bytes], target: Path) -> None:
    """Write an archive that holds *files*: path in the guest -> a file or its content.

    Private keys and what lies below ``root/`` are readable by root alone.
    """
    with tempfile.TemporaryDirectory(prefix="harness-archive-") as name:
        root = Path(name) / "root"
        root.mkdir()
        for destination, content in files.items():
            path = root / destination
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        write_archive(root, target)


def join_archives(parts: Iterable[Path]) -> bytes:
    """Return archives one after the other, each beginning at a multiple of four bytes."""
    data = bytearray()
    for part in parts:
        data += part.read_bytes()
        data += b"\0" * (_aligned(len(data)) - len(data))
    return bytes(data)


def _aligned(size: int) -> int:
    return -(-size // 4) * 4


def payload_archive(files: Mapping[str, Path], store: Store) -> Path:
    """Return an archive that puts *files* (path in the guest -> file) there; cached by content."""
    key = digest("payload", *(part for pair in sorted(files.items()) for part in pair))

    def make(directory: Path) -> None:
        archive_of(files, directory / "payload.cpio")

    return store.get_or_make("payload", key, make) / "payload.cpio"


# -- keys ----------------------------------------------------------------------------------


def guest_keys(store: Store) -> GuestKeys:
    """Return the keys of this cache, made at the first call; the user alone can read them."""
    directory = store.root / "keys"
    names = ("client", "host.pub", "keys.cpio")
    with store.lock("keys"):
        if not all((directory / name).exists() for name in names):
            directory.mkdir(mode=0o700, exist_ok=True)
            _make_keys(directory)
    return GuestKeys(
        client=directory / "client",
        host_public=(directory / "host.pub").read_text().strip(),
        archive=directory / "keys.cpio",
    )


def _make_keys(directory: Path) -> None:
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    authorized = client.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    archive_of(
        {
            "root/.ssh/authorized_keys": authorized + b"\n",
            "etc/dropbear/host_key": _dropbear_key(host),
        },
        directory / "keys.cpio",
    )
    public = _string(b"ssh-ed25519") + _string(host.public_key().public_bytes_raw())
    (directory / "host.pub").write_text(base64.b64encode(public).decode() + "\n")
    private = directory / "client"
    private.touch(mode=0o600)
    private.write_bytes(client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))


def _dropbear_key(key: Ed25519PrivateKey) -> bytes:
    """Return a private key as dropbear stores it (its ``ed25519.c``): name, then both halves."""
    both = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return _string(b"ssh-ed25519") + _string(both)


def _string(data: bytes) -> bytes:
    """Return an SSH string (RFC 4251, section 5)."""
    return struct.pack(">I", len(data)) + data
