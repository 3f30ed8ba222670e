# SPDX-License-Identifier: GPL-2.0-only
"""What a guest may take grows with the accelerator and the profile, all of it by one factor."""

from __future__ import annotations

import dataclasses

import pytest

from harness.base.timeouts import GUEST, guest_scale


def test_every_timeout_of_a_guest_is_scaled() -> None:
    before, after = dataclasses.asdict(GUEST), dataclasses.asdict(GUEST.scaled(3.0))
    assert {name: after[name] / value for name, value in before.items()} == pytest.approx(
        dict.fromkeys(before, 3.0)
    )


def test_timeouts_scaled_twice_know_their_factor() -> None:
    assert GUEST.scaled(2.0).scaled(3.0) == GUEST.scaled(6.0)


def test_emulated_guest_may_take_longer_than_one_under_kvm() -> None:
    assert guest_scale("kvm", 1.5) == 1.5
    assert guest_scale("tcg", 1.5) > 2 * 1.5
