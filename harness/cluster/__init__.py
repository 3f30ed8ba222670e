# SPDX-License-Identifier: GPL-2.0-only
"""Cells on other machines, by Dask.distributed (the optional extra ``cluster``).

Imported by nobody who does not ask for a cluster.
"""
