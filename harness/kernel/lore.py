# SPDX-License-Identifier: GPL-2.0-only
"""Series in public mail archives such as lore.kernel.org, fetched by ``b4 am``."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

from harness.base import command
from harness.base.errors import CommandError, SeriesError
from harness.base.store import Store, digest
from harness.base.timeouts import HOST
from harness.kernel.mailbox import read_mails

_ARCHIVED = re.compile(r"https?://\S+|<?[\w.+=%$-]+@[\w.+:-]+>?")


def is_archived(location: str) -> bool:
    """Return whether *location* is a Message-ID, or the address of a mail in an archive."""
    return _ARCHIVED.fullmatch(location) is not None and ".." not in location


def fetch_thread(location: str) -> Iterator[bytes]:
    """Return the mails that ``b4 am`` makes of a thread: the patches, and the cover letter.

    A thread is fetched once a day and kept in the cache, so that all cells have the same one.

    :raises SeriesError: when there is no b4, or it finds nothing.
    """
    name = location.strip("<>")
    if command.which("b4") is None:
        raise SeriesError(
            f"{location} is in a mail archive, and there is no b4 to fetch it",
            hint="install b4, or save the thread as an mbox and give that",
        )

    def make(directory: Path) -> None:
        # Without the trailers of replies: they change every day, and the patches do not.
        words: list[str | Path] = [
            "b4",
            "--no-interactive",
            "am",
            "--no-add-trailers",
            "-o",
            directory,
            name,
        ]
        try:
            command.run(words, cwd=directory, timeout_s=HOST.package_s)
        except CommandError as error:
            if error.cut_short:
                raise
            raise SeriesError(
                f"b4 found no series at {location}: {error.message}",
                hint="try it by hand: b4 am " + name,
            ) from error
        if not list(directory.glob("*.mbx")):
            raise SeriesError(f"b4 found no patch at {location}")

    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    entry = Store().get_or_make("threads", digest("b4 am", name, today), make)
    for file in sorted((*entry.glob("*.cover"), *entry.glob("*.mbx"))):
        yield from read_mails(file)
