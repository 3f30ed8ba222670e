# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plugin: ``hooks`` is what pytest loads, and brings the rest."""
