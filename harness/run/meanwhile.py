# SPDX-License-Identifier: GPL-2.0-only
"""Do in a thread what will be asked for later, while the caller does what takes longer."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from harness.base import command
from harness.base.arch import Architecture
from harness.base.errors import HarnessError
from harness.base.spec import ImageSpec
from harness.base.store import Store
from harness.base.timeouts import HOST
from harness.guest.accel import choose_accel
from harness.guest.keys import guest_keys
from harness.guest.packages import fetch_packages

log = logging.getLogger(__name__)


@contextlib.contextmanager
def meanwhile(*tasks: Callable[[], object]) -> Iterator[threading.Thread]:
    """Do *tasks*, one after the other, in a thread that lasts no longer than the block; yield it.

    They fill the cache for who asks after the block.  One that fails is left at that: whoever
    needs what it was about asks for it again, and gets the error there.  The end of the block
    waits for them; an exception in the block ends them, and the programs they run.
    """

    def work() -> None:
        for task in tasks:
            try:
                task()
            except HarnessError as error:
                log.info("not done ahead of time: %s", error.message)

    # A daemon: one that waits for somebody else's lock has nothing to tear down.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield thread
        thread.join()
    except BaseException:
        command.interrupt(thread)
        thread.join(2 * HOST.grace_s)
        raise


def needs_of_machines(
    image: ImageSpec, store: Store, arch: Architecture, qemu: str, accel: str
) -> tuple[Callable[[], object], ...]:
    """Return what brings into *store* what machines need besides a kernel, without a word.

    :param qemu: the QEMU program.
    :param accel: the accelerator that is asked for.
    """
    return (
        lambda: guest_keys(store),
        lambda: fetch_packages(image, arch=arch, store=store, progress=log.info),
        lambda: choose_accel(accel, arch, store, qemu),
    )
