# SPDX-License-Identifier: GPL-2.0-only
"""From a tree and a series to a kernel: fetch, read mail, apply, configure, build.

Everything but the machine that the kernel will run in.
"""
