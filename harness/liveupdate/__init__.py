# SPDX-License-Identifier: GPL-2.0-only
"""The subject: a live update, driven and proven.

Preserve, kexec, retrieve, finish.
"""
