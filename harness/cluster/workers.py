# SPDX-License-Identifier: GPL-2.0-only
"""The workers of a cluster as the scheduler knows them, and which of them will do for a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.base.errors import InfrastructureError
from harness.cluster import offer
from harness.cluster.host import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """A worker.

    :param resources: what it declared.
    :param takes: whether it takes jobs.
    :param running: how many tasks it has.
    :param facts: what it tells with every heartbeat.
    """

    name: str
    address: str
    resources: Mapping[str, float]
    takes: bool
    running: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def guests(self) -> int:
        """Its places for guests."""
        return int(self.resources.get(offer.GUEST, 0))

    def why_not(self, needs: Mapping[str, float]) -> str | None:
        """Say why it cannot do a job; ``None`` when it can."""
        if not self.facts:
            return "it is no worker of the harness: 'harness worker' starts one"
        for need in needs:
            if not self.resources.get(need):
                return self._lacks(need)
        if not self.takes:
            return str(self.facts.get("full") or "it takes no jobs")
        return None

    def _lacks(self, need: str) -> str:
        said = self.facts.get("lacks", {})
        if need.startswith("version:"):
            own = str(self.facts.get("version", ""))[:8]
            return f"it has another version of the harness or of the suite ({own})"
        if need.startswith("toolchain:"):
            return f"it has another compiler: {', '.join(self.facts['compilers'].values())}"
        if need == offer.GUEST:
            return next(iter(said.values()), "it has no place for guests")
        return str(said.get(need, f"it does not offer {need}"))


def read_workers(info: Mapping[str, Any]) -> tuple[WorkerFacts, ...]:
    """Read what ``Client.scheduler_info()`` says, by name."""
    found = (
        WorkerFacts(
            name=str(worker["name"]),
            address=address,
            resources=worker["resources"],
            takes=worker.get("status", "running") == "running",
            running=int(worker["metrics"].get("executing", 0)),
            facts=worker["metrics"].get(NAME) or {},
        )
        for address, worker in info["workers"].items()
    )
    return tuple(sorted(found, key=lambda worker: worker.name))


def fitting(workers: Iterable[WorkerFacts], needs: Mapping[str, float]) -> list[WorkerFacts]:
    """Return the workers that can do a job."""
    return [worker for worker in workers if worker.why_not(needs) is None]


def check_needs(workers: Sequence[WorkerFacts], needs: Mapping[str, float], what: str) -> None:
    """Look whether any worker can do a job.

    :param what: the job, for people.
    :raises InfrastructureError: when none can, saying of each why.
    """
    if fitting(workers, needs):
        return
    said = "".join(f"\n  {worker.name}: {worker.why_not(needs)}" for worker in workers)
    raise InfrastructureError(
        f"no worker of the cluster can {what}{':' if said else ': there is none'}{said}",
        hint="'harness worker ADDRESS' starts one, 'harness cluster status' lists them",
    )
