# SPDX-License-Identifier: GPL-2.0-only
"""Many kernels: every position, the first bad patch, mutants, coverage, several trees a night."""
