# SPDX-License-Identifier: GPL-2.0-only
"""The environment variables besides those of the settings (:mod:`harness.base.settings`).

They say where things are on a host, and change no result.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness import NAME
from harness.base.spec import DEFAULT_CC


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An environment variable that is no setting.

    :param otherwise: what happens when it is not set, or empty.
    """

    name: str
    metavar: str
    help: str
    otherwise: str


VARIABLES = (
    Variable(
        name="HARNESS_CACHE",
        metavar="DIR",
        help="where builds, images, sources and templates are kept",
        otherwise=f"{NAME} below the user's cache directory",
    ),
    Variable(
        name="HARNESS_DOWNLOADS",
        metavar="DIRS",
        help="directories with packages of kernels and of the guest, colon-separated",
        otherwise="they are fetched",
    ),
    Variable(
        name="HARNESS_MIRRORS",
        metavar="URLS",
        help="mirrors of Debian to fetch kernels from besides apt's, separated by blanks",
        otherwise="apt's, and the addresses in kernels.yaml",
    ),
    Variable(
        name="HARNESS_HISTORY",
        metavar="FILE",
        help="where the history of runs is kept",
        otherwise=f"history.sqlite in {NAME} below the user's state directory",
    ),
    Variable(
        name="HARNESS_TREES",
        metavar="N",
        help="work trees of a kernel, each of which builds a position of its own",
        otherwise="one for every four CPUs that it may use",
    ),
    Variable(
        name="HARNESS_STORE",
        metavar="WHERE",
        help="a directory that machines share, or an address of fsspec's, for builds and results",
        otherwise="each cache has its own",
    ),
    Variable(
        name="HARNESS_CLUSTER",
        metavar="ADDRESS",
        help="the cluster that cells run on, as --cluster has it",
        otherwise="they run here",
    ),
    Variable(
        name="HARNESS_TLS",
        metavar="DIR",
        help="the keys of the cluster, as --tls has it",
        otherwise="none: a cluster beyond this machine needs them",
    ),
    Variable(
        name="HARNESS_AGENT_PORT",
        metavar="N",
        help="in the guest: port of the agent",
        otherwise="5860",
    ),
    Variable(
        name="HARNESS_AGENT_SOCKET",
        metavar="FILE",
        help="in the guest: socket of the agent",
        otherwise="/run/harness-agent.sock",
    ),
    Variable(
        name="CC",
        metavar="PROGRAM",
        help="compiler, as for make; --cc and HARNESS_CC go before it",
        otherwise=DEFAULT_CC,
    ),
    Variable(
        name="CCACHE_DIR",
        metavar="DIR",
        help="where ccache keeps what was compiled",
        otherwise="ccache/ of the cache",
    ),
    Variable(
        name="B4_TRACKING_FILE",
        metavar="FILE",
        help="what b4 says about the series under review; it sets it",
        otherwise="check-patch and check-series go by the mail",
    ),
)
"""All of them; each module reads its own."""
