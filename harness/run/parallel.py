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
    with Workers(parallel) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BaseException as error:
            for future in futures:
                future.cancel()
            pool.end(error)
            raise


class Workers(ThreadPoolExecutor):
    """Threads whose work can be ended with that of whoever waits for it.

    :param parallel: how many there are.
    """

    def __init__(self, parallel: int) -> None:
        self._mine: list[threading.Thread] = []
        super().__init__(parallel, initializer=self._begin)

    def _begin(self) -> None:
        self._mine.append(threading.current_thread())

    def end(self, why: BaseException) -> None:
        """Let what the threads wait for end, and start nothing more.

        :param why: an interrupt is for all that this process has started. After anything else it
            may go on with other work.
        """
        if isinstance(why, Exception | GeneratorExit):
            for thread in list(self._mine):
                command.interrupt(thread)
        else:
            command.interrupt()


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
