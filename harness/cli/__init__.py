# SPDX-License-Identifier: GPL-2.0-only
"""The command line: ``main`` runs it, the other modules hold the commands, a few in each."""
