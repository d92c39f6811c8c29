"""Work done ahead of need by a background thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Ahead(Iterator[Result], Generic[Result]):
    """`make(item)` of each item, in order, made by a background thread `depth` items ahead of need.

    What `make` raises is raised where its result would have come. `items` may be another `Ahead`: stages of a
    pipeline, which work at the same time; closing the last closes them all.
    """

    def __init__(self, make: Callable[[Item], Result], items: Iterable[Item], count: int, depth: int = 2):
        self._make, self._items, self._left = make, iter(items), count
        self._thread = ThreadPoolExecutor(1, "loader")
        self._waiting: deque[Future[Result]] = deque()
        for _ in range(depth):
            self._order()

    def _order(self) -> None:
        if self._left:
            self._left -= 1
            self._waiting.append(self._thread.submit(lambda: self._make(next(self._items))))

    def __next__(self) -> Result:
        if not self._waiting:
            raise StopIteration
        result = self._waiting.popleft().result()
        self._order()
        return result

    def close(self) -> None:
        """Make nothing more; waits for what is being made."""
        self._left = 0
        self._thread.shutdown(cancel_futures=True)
        self._waiting.clear()
        if isinstance(self._items, Ahead):
            self._items.close()
