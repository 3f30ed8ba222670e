# SPDX-License-Identifier: GPL-2.0-only
"""What tells trouble of the host from mistakes: errors of the system, and words of programs."""

from __future__ import annotations

import errno
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import InfrastructureError

_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS),
        *(errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    }
)
"""What a host runs out of, or breaks: ``errno(3)``."""

SANDBOX_END = "--default-signal=INT,TERM"
"""The last word that :mod:`harness.base.sandbox` puts before a program."""

_WORDS = re.compile(
    r"(?:: |^|write error\. )(No space left on device|Out of diskspace|Disk quota exceeded"
    r"|Read-only file system|Input/output error|Cannot allocate memory"
    r"|Resource temporarily unavailable|out of memory allocating \d+ bytes.*)$"
    r"|fatal error: (Killed signal terminated program \S+)$"
    r"|(?:^make.*\] (?:Error 137|Killed)|\[Killed\]|command: Killed)$"
    r"|(?:memory exhausted|Cannot fork)$",
    re.M,
)
"""How lines end in which a program says so.  Killed is, as gcc, its linker, clang and make say,
what the kernel ends for want of memory."""

_LEAST_BYTES = 1 << 24
"""With less room than this a disk is full: a program that fails removes some of what it wrote."""


def trouble_of_host(error: BaseException) -> InfrastructureError | None:
    """Return what an error of the system says of the host: a full disk, no memory.

    :returns: ``None`` when it may as well be a mistake of whoever made the call.
    """
    if isinstance(error, MemoryError):
        return InfrastructureError("the host has no memory left")
    if not isinstance(error, OSError) or error.errno not in _ERRNOS:
        return None
    where = f": {error.filename}" if error.filename is not None else ""
    return InfrastructureError(f"the host: {error.strerror}{where}")


def raise_for_host(
    argv: Sequence[str], said: Sequence[str], log_file: Path | None, offset: int
) -> None:
    """Raise when a program that failed says that it did so for want of something of the host's.

    For whoever looks at its status that would be a verdict: a patch that does not apply or build.

    :param said: what it printed; to *log_file*, when that is given, from *offset* on.
    :raises InfrastructureError: naming it.
    """
    texts = list(said)
    if log_file is not None:
        with log_file.open("rb") as stream:
            stream.seek(offset)
            texts.append(stream.read().decode(errors="replace"))
    sandboxed = SANDBOX_END in argv
    begin = argv.index(SANDBOX_END) + 1 if sandboxed else 0
    what = shlex.join(argv[begin : begin + 4])
    for found in (found for text in texts for found in _WORDS.finditer(text)):
        if sandboxed and found[1] == "Read-only file system":
            # All of it is, but for what the program has to write to.
            continue
        words = found[1] or found[2] or found[0].strip()
        raise InfrastructureError(f"the host: {words}: {what}", log=log_file)
    # What a program said of a full disk may have found no room itself.
    if log_file is not None and shutil.disk_usage(log_file.parent).free < _LEAST_BYTES:
        raise InfrastructureError(f"the disk is full: {log_file.parent}: {what}", log=log_file)
