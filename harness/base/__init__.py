# SPDX-License-Identifier: GPL-2.0-only
"""What everything stands on: errors, running programs, the cache, what the user asks for.

It knows of no kernel, no guest and no test.
"""
