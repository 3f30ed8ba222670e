# SPDX-License-Identifier: GPL-2.0-only
"""Mails as they are kept: an mbox, a maildir, a directory of files, each packed or not."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from harness.base.errors import SeriesError

_PACKED = {b"\x1f\x8b": gzip, b"\xfd7zXZ\x00": lzma, b"BZh": bz2}
"""The first bytes of a packed file, and what unpacks it."""

_SUFFIXES = (".patch", ".diff", ".mbox", ".mbx", ".eml")
_PACKED_SUFFIXES = (".gz", ".xz", ".bz2")

_FROM_LINE = re.compile(
    # As git mailsplit knows it: there is a time, then a year.  A line of a text that looks the
    # same is followed by more text, not by a header.
    rb"^From \S+.*\d:\d\d(?::\d\d)?.* (?:19|20)\d\d(?: [-+]\d{4})?[ \t]*\n"
    rb"(?=(?:>?From |[!-9;-~]+:[ \t\n]))",
    re.M,
)


def read_mails(path: Path) -> Iterator[bytes]:
    """Return the mails of a file, a maildir or a directory of files, in their order there.

    Lines end with a newline alone.

    :raises SeriesError: when a file cannot be read or unpacked.
    """
    if path.is_file():
        yield from split_mails(_content(path))
    elif (path / "cur").is_dir() or (path / "new").is_dir():
        for folder in ("new", "cur"):
            for file in sorted((path / folder).glob("*")):
                yield _with_newlines(_content(file))
    else:
        try:
            found = [file for file in sorted(path.iterdir()) if file.is_file()]
        except OSError as error:
            raise SeriesError(f"cannot read {path}: {error.strerror}") from error
        for file in [file for file in found if _is_mail(file.name)] or found:
            yield from split_mails(_content(file))


def split_mails(data: bytes) -> Iterator[bytes]:
    """Return the mails of an mbox, or the one mail that *data* is."""
    data = _with_newlines(data.removeprefix(b"\xef\xbb\xbf")).lstrip()
    # A single format-patch file is an mbox of one; a saved mail may lack the From line.
    starts = [match.start() for match in _FROM_LINE.finditer(data)]
    if not data.startswith(b"From ") or not starts:
        yield data
        return
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        mail = data[start:end].partition(b"\n")[2]
        yield re.sub(rb"^>(>*From )", rb"\1", mail, flags=re.M)


def plain_name(name: str) -> str:
    """Return the name of a file of mails without what says how it is kept."""
    for suffix in (*_PACKED_SUFFIXES, *_SUFFIXES):
        name = name.removesuffix(suffix)
    return name


def _is_mail(name: str) -> bool:
    for suffix in _PACKED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name.endswith(_SUFFIXES)


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        for start, module in _PACKED.items():
            if data.startswith(start):
                return bytes(module.decompress(data))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise SeriesError(f"cannot read {path}: {error}") from error
    return data


def _with_newlines(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")
