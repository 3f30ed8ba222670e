# SPDX-License-Identifier: GPL-2.0-only
"""Several things side by side, each in a thread, when what they wait for is elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar

from harness.base import command

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R")


def side_by_side(items: Iterable[_T], work: Callable[[_T], _R], *, parallel: int) -> Iterator[_R]:
    """Yield what *work* makes of each item, in their order; up to *parallel* are under way."""
    if parallel == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            command.interrupt()
            raise


class Once(Generic[_P, _R]):
    """A function that works out the answer to each question once, whichever threads ask it."""

    def __init__(self, function: Callable[_P, _R]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._known: dict[Hashable, Future[_R]] = {}

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Return the answer, when somebody has it."""
        key = (args, tuple(kwargs.items()))
        with self._lock:
            found = self._known.get(key)
            mine = found is None
            if found is None:
                found = self._known[key] = Future()
        if mine:
            try:
                found.set_result(self._function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - all who ask get it
                found.set_exception(error)
        return found.result()
