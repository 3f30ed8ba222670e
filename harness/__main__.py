# SPDX-License-Identifier: GPL-2.0-only
"""``python -m harness`` and the ``harness`` command."""

from __future__ import annotations

import sys

from harness.cli.main import run_command


def main() -> int:
    """Run the command line; return its exit code."""
    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
