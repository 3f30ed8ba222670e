# SPDX-License-Identifier: GPL-2.0-only
"""What gcov has counted in a running kernel, fetched to where the host's tools can read it."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

from harness.guest.connection import Guest
from harness.results.directory import LEFT_FILE, TEST_FILE

_COUNTERS = "/sys/kernel/debug/gcov"
"""``Documentation/dev-tools/gcov.rst``: a tree of the objects' absolute paths."""


def fetch_counters(
    guest: Guest,
    notes: Path,
    target: Path,
    test: str = "",
    *,
    leaving: bool = False,
    timeout_s: float,
) -> None:
    """Put the counters of the kernel in *guest* into *target*, and the compiler's notes with them.

    The kernel begins to count anew.

    :param notes: the directory of the ``.gcno`` files; only what has notes is kept.
    :param test: what ran while they counted, noted beside them; empty when it was no test.
    :param leaving: for the next kernel, which is noted as well.
    :param timeout_s: for packing them in the guest, and for fetching them.
    :raises GuestError: when the guest does not answer.
    """
    # Files of debugfs say that they are empty: tar would believe it.
    guest.check(
        f"cd {_COUNTERS} && find . -name '*.gcda' | while read -r file; do "
        'mkdir -p "/run/gcov/${file%/*}" && cat "$file" >"/run/gcov/$file"; done; '
        "tar -C /run/gcov -czf /run/gcov.tar.gz . && echo 0 >reset",
        timeout_s=timeout_s,
    )
    packed = guest.get("/run/gcov.tar.gz", timeout_s=timeout_s)
    guest.check(["rm", "-rf", "/run/gcov", "/run/gcov.tar.gz"], timeout_s=timeout_s)
    shutil.copytree(notes, target, dirs_exist_ok=True)
    (target / TEST_FILE).write_text(test)
    if leaving:
        (target / LEFT_FILE).touch()
    wanted = [path.relative_to(notes).with_suffix(".gcda") for path in notes.rglob("*.gcno")]
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for counters in wanted:
            for member in archive.getmembers():
                # In the guest the object tree's path stands before that of the file.
                if member.name.endswith(f"/{counters}") and (stream := archive.extractfile(member)):
                    (target / counters).write_bytes(stream.read())
