# SPDX-License-Identifier: GPL-2.0-only
"""What was under test: the commits, the build, the machine, as results carry it.

``docs/results.md`` has the JSON form.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from harness.guest.accel import qemu_version
from harness.guest.doctor import describe_host
from harness.kernel.recognise import Recognised
from harness.kernel.series import Series
from harness.kernel.source import git
from harness.results.facts import (
    ExtraFacts,
    FixFacts,
    KernelFacts,
    LeftOutFacts,
    MachineFacts,
    PatchFacts,
    Provenance,
    RecognisedFacts,
    SeriesFacts,
    SuitePatchFacts,
    SupportFacts,
)
from harness.run.pipeline import Pipeline


def facts_of(pipeline: Pipeline) -> Provenance:
    """Return what the results say besides tests."""
    build = pipeline.build()
    return Provenance(
        kernel=describe_kernel(pipeline),
        series=describe_series(pipeline),
        profile=pipeline.profile.name,
        accel=pipeline.accel.name,
        machine=MachineFacts(
            arch=build.arch,
            qemu=qemu_version(pipeline.qemu),
            accel_reason=pipeline.accel.reason,
            memory_mib=pipeline.profile.memory_mib,
            cpus=pipeline.profile.cpus,
            cmdline=pipeline.profile.cmdline,
            image=pipeline.image(build).key,
            host=describe_host(),
        ),
        builds={str(number): build.key for number, build in sorted(pipeline.builds.items())},
    )


def describe_kernel(pipeline: Pipeline) -> KernelFacts:
    """Return what the results say of the kernel."""
    source, build = pipeline.source, pipeline.build()
    return KernelFacts(
        version=source.version,
        label=source.label,
        base=source.base,
        public=source.public,
        commit=pipeline.position().commit,
        patchset=_patchset(pipeline),
        release=build.release,
        build_seconds=0.0 if build.cached else build.seconds,
        cached=build.cached,
        warnings=len(build.warnings),
        new_warnings=pipeline.new_warnings(),
        toolchain=pipeline.toolchain.compiler,
        config=str(build.config),
        features=tuple(sorted(build.features)),
        fixes=tuple(_fixes(pipeline)),
        no_sandbox=build.no_sandbox,
    )


def _fixes(pipeline: Pipeline) -> Iterator[FixFacts]:
    """Yield the fixes that the suite knows; those of its series are told by its patches."""
    has = pipeline.features.of(pipeline.position().commit)
    for feature in pipeline.suite.features:
        if not feature.fixes:
            continue
        missing: tuple[str, ...] = ()
        if feature.series:
            patches = pipeline.presences.values()
            missing = tuple(p.subject for p in patches if not pipeline.has_patch(p.number))
        yield FixFacts(
            feature=feature.name,
            bug=feature.fixes,
            fixed_in=feature.fixed_in,
            has=not missing if feature.series else feature.name in has,
            missing=missing,
        )


def describe_series(pipeline: Pipeline) -> SeriesFacts:
    """Return what the results say of the series, also of one that does not apply as a whole."""
    applied, number = pipeline.applied, pipeline.target.position
    number = applied.last if number is None else number
    has_kernel = number < len(applied.positions)
    series = applied.series
    return SeriesFacts(
        name=series.name if series else None,
        title=series.title if series else None,
        origin=series.origin if series else None,
        taken=series.taken if series else None,
        left_out=left_out_facts(series) if series else (),
        position=number,
        total=applied.last,
        extra=tuple(
            ExtraFacts(subject=patch.subject, file=series.origin)
            for series in pipeline.extra
            for patch in series.patches
        ),
        support=tuple(
            SupportFacts(
                subject=item.subject,
                reason=item.reason,
                applied=item.applied,
                why_left_out=item.why_left_out,
            )
            for item in applied.support
        ),
        patches=tuple(
            PatchFacts(
                position=p.number,
                subject=p.subject,
                commit=p.commit,
                already=p.already is not None,
                recognised=_recognised(p.already),
            )
            for p in applied.positions[1:]
        ),
        suite=tuple(
            SuitePatchFacts(
                number=item.number,
                subject=item.subject,
                has=item.has,
                recognised=_recognised(item.found),
            )
            for item in (pipeline.presences.values() if has_kernel else ())
        ),
    )


def left_out_facts(series: Series) -> tuple[LeftOutFacts, ...]:
    """Return what the results say of patches that were not taken."""
    return tuple(LeftOutFacts(what=each.what, why=each.why) for each in series.left_out)


def _recognised(found: Recognised | None) -> RecognisedFacts | None:
    if found is None:
        return None
    return RecognisedFacts(
        by=found.by.value,
        name=found.name,
        subject=found.subject,
        same_change=found.same_change,
        ambiguous=found.others,
    )


def _patchset(pipeline: Pipeline) -> tuple[str, ...]:
    """Return the SHA-256 of each patch between base and target, as git would mail it."""
    base, commit = pipeline.source.base, pipeline.position().commit
    words = ("rev-list", "--reverse", f"{base}..{commit}")
    exported = ("format-patch", "--stdout", "-1", "--full-index", "--no-signature")
    return tuple(
        hashlib.sha256(git(pipeline.source.repo, *exported, each).stdout.encode()).hexdigest()
        for each in git(pipeline.source.repo, *words).stdout.split()
    )
