# SPDX-License-Identifier: GPL-2.0-only
"""Tests on one kernel: the stages in order, a cell of a matrix, who runs it, what it says."""
