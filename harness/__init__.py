# SPDX-License-Identifier: GPL-2.0-only
"""Prove a kernel patch series in QEMU, patch by patch."""

__version__ = "0.1.0"

NAME = "luo-harness"
"""The distribution, and the directories in which it keeps things."""
