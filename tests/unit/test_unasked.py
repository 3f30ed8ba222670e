# SPDX-License-Identifier: GPL-2.0-only
"""What kbuild finds to do in a subsystem that nobody asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

UNASKED = Path(__file__).resolve().parents[2] / "kernel-configs" / "unasked.mk"


def objects(tmp_path: Path, directory: str, config: str) -> str:
    """Return what a makefile like kbuild's lists for *directory*."""
    (tmp_path / "include/config").mkdir(parents=True)
    (tmp_path / "include/config/auto.conf").write_text(config)
    (tmp_path / "Makefile").write_text("obj-y :=\nobj-y += sub/ one.o\nall:\n\t@echo $(obj-y)\n")
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", tmp_path, f"obj={directory}"],
        env={"PATH": "/usr/bin:/bin", "MAKEFILES": str(UNASKED)},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("directory", ["drivers/clk", "drivers/gpu/drm", "drivers/media"])
def test_directory_that_nobody_asked_for_is_empty(tmp_path: Path, directory: str) -> None:
    assert objects(tmp_path, directory, "CONFIG_PCI=y\n") == ""


@pytest.mark.parametrize(
    ("directory", "symbol"),
    [
        ("drivers/clk", "HAVE_CLK"),
        ("drivers/gpu/drm", "DRM"),
        ("drivers/gpu/drm", "DRM_PANEL_ORIENTATION_QUIRKS"),
        ("drivers/media", "MEDIA_SUPPORT"),
        ("drivers/media", "RC_CORE"),
        ("drivers/media", "CEC_CORE"),
        ("drivers/pci", "PCI"),
    ],
)
@pytest.mark.parametrize("value", ["y", "m"])
def test_directory_that_was_asked_for_keeps_what_is_in_it(
    tmp_path: Path, directory: str, symbol: str, value: str
) -> None:
    assert objects(tmp_path, directory, f"CONFIG_{symbol}={value}\n") == "sub/ one.o"
