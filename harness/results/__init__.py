# SPDX-License-Identifier: GPL-2.0-only
"""What came out: outcomes, kernel logs read for splats, expectations, and what all runs came to.

Values and readers; nothing here runs anything.
"""
