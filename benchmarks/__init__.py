# SPDX-License-Identifier: GPL-2.0-only
"""What everything costs: a boot, a clone, a live update, a verdict, and what it leaves behind."""
