"""Reading the next files while the present one is worked on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")


def read_ahead(
    read: Callable[[Item], Read], items: Iterable[Item], *, num_ahead: int = 2
) -> Iterator[tuple[Item, Future[Read]]]:
    """Yield the items in their order, each with a future of what `read` makes of it.

    Parameters
    ----------
    read : callable
        Called in threads; decoders of images let other threads run meanwhile. What it raises, the future raises.
    items : iterable
    num_ahead : int
        How many items are read ahead of the one yielded, and so held in memory at most.

    Examples
    --------
    >>> [future.result() for _, future in read_ahead(len, ["a", "bc", ""])]
    [1, 2, 0]
    """
    waiting = iter(items)
    with ThreadPoolExecutor(max(1, num_ahead)) as pool:
        queue = deque((item, pool.submit(read, item)) for item in islice(waiting, num_ahead))
        for following in waiting:
            queue.append((following, pool.submit(read, following)))
            yield queue.popleft()
        while queue:
            yield queue.popleft()
