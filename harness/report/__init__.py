# SPDX-License-Identifier: GPL-2.0-only
"""Results for people and services: the page, text for a terminal, Markdown, KCIDB.

Views only: what is good or bad was decided before.
"""
