# SPDX-License-Identifier: GPL-2.0-only
"""The virtual machine: root file system, QEMU, console, SSH, and the kernels that one runs.

Machines that were booted once are kept as templates, and cloned.
"""
