# SPDX-License-Identifier: GPL-2.0-only
"""Directories on their way from one machine to another: in bounded pieces, proven on arrival.

What comes from elsewhere is not trusted with names: nothing is written outside its directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.base.errors import InfrastructureError
from harness.base.store import MANIFEST, file_sha256

PIECE_BYTES = 4 << 20
"""What travels at once, at most; Dask warns of more than 10 MB in one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file of a directory.

    :param name: below the directory, with slashes.
    :param mode: its permissions.
    """

    name: str
    size_bytes: int
    sha256: str
    mode: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file: *length* bytes from *offset* on."""

    name: str
    offset: int
    length: int


ReadParts = Callable[[Sequence[Part]], bytes]
"""Returns parts of files that are elsewhere, one behind the other."""


def list_files(directory: Path) -> tuple[Listed, ...]:
    """Return the files of a directory; an entry's manifest is not among them."""
    return tuple(
        Listed(
            name=path.relative_to(directory).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=file_sha256(path),
            mode=path.stat().st_mode & 0o777,
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink() and path != directory / MANIFEST
    )


def read_parts(directory: Path, parts: Sequence[Part]) -> bytes:
    """Return parts of a directory's files, one behind the other."""
    return b"".join(_read(directory / part.name, part) for part in parts)


def _read(path: Path, part: Part) -> bytes:
    with path.open("rb") as stream:
        stream.seek(part.offset)
        return stream.read(part.length)


def in_pieces(files: Sequence[Listed]) -> Iterator[tuple[Part, ...]]:
    """Yield what makes up *files*, :data:`PIECE_BYTES` at a time at most."""
    piece: list[Part] = []
    room = PIECE_BYTES
    for file in files:
        offset = 0
        while offset < file.size_bytes:
            length = min(room, file.size_bytes - offset)
            piece.append(Part(file.name, offset, length))
            offset += length
            room -= length
            if not room:
                yield tuple(piece)
                piece, room = [], PIECE_BYTES
    if piece:
        yield tuple(piece)


def receive(files: Sequence[Listed], read: ReadParts, directory: Path) -> None:
    """Fill *directory* with files from elsewhere.

    :raises InfrastructureError: when something else arrives than was listed, or a file has a name
        outside the directory.
    """
    for file in files:
        path = _place(directory, file.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        path.chmod(file.mode | 0o600)
    for piece in in_pieces(files):
        data = read(piece)
        for part in piece:
            with _place(directory, part.name).open("ab") as stream:
                stream.write(data[: part.length])
            data = data[part.length :]
    for file in files:
        if file_sha256(_place(directory, file.name)) != file.sha256:
            raise InfrastructureError(f"{file.name} is not what was sent: it changed on the way")


def _place(directory: Path, name: str) -> Path:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise InfrastructureError(f"a file from elsewhere has the name {name!r}: not taken")
    return directory / pure


# -- one file as a whole, to where it is not yet --------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A file that is cut into pieces, known by its content.

    :param sha256: of each piece.
    """

    size_bytes: int
    sha256: tuple[str, ...]

    @property
    def key(self) -> str:
        """What it is known by."""
        return hashlib.sha256("".join(self.sha256).encode()).hexdigest()[:32]


def cut(path: Path) -> tuple[Parcel, Iterator[bytes]]:
    """Return a file as a parcel, and its pieces in their order."""

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                yield piece

    sums = tuple(hashlib.sha256(piece).hexdigest() for piece in pieces())
    return Parcel(size_bytes=path.stat().st_size, sha256=sums), pieces()


def join(parcel: Parcel, pieces: Sequence[bytes], path: Path) -> None:
    """Write what a parcel was made of.

    :raises InfrastructureError: when the pieces are not its.
    """
    if tuple(hashlib.sha256(piece).hexdigest() for piece in pieces) != parcel.sha256:
        raise InfrastructureError("what was sent changed on the way")
    with path.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
