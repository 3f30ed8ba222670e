# SPDX-License-Identifier: GPL-2.0-only
"""Live updates as results keep them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY = "live_updates"
"""Under which results hold them (``docs/results.md``)."""

STAGES = ("preserve", "load", "blackout", "retrieve", "verify", "finish")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateResult:
    """One live update that a test performed, with its proof.

    :param stages: stage -> seconds, of :data:`STAGES`.
    :param number: the live update number that the next kernel read from the last one.
    :param preserved: how many files went through the update.
    :param compared: how many of them its tests compared with what was preserved.
    :param verified: how many of those were the same.
    :param kept: whether it was done when a template was made, in the machine it was cloned from.
    """

    test: str
    from_release: str
    to_release: str
    from_boot_id: str
    to_boot_id: str
    qemu_pid: int
    number: int
    preserved: int
    compared: int
    verified: int
    stages: Mapping[str, float]
    kept: bool = False

    @property
    def comparison(self) -> str:
        """How many files were verified, of those that the tests compared: ``108/108``.

        What was preserved and not compared is no loss: ``-`` when no file was.
        """
        return f"{self.verified}/{self.compared}" if self.compared else "-"

    def to_item(self) -> dict[str, Any]:
        """Return it as results keep it."""
        stages = {name: round(seconds, 3) for name, seconds in self.stages.items()}
        return dataclasses.asdict(self) | {"stages": stages}


def update_of(item: Mapping[str, Any]) -> UpdateResult:
    """Return what :meth:`UpdateResult.to_item` was made from; keys may have been added since."""
    names = {field.name for field in dataclasses.fields(UpdateResult)}
    return UpdateResult(**{key: value for key, value in item.items() if key in names})
