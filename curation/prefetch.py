"""Work ahead of a consumer in one background thread: the next pictures are decoded while the model looks at the last ones.

A thread suffices, because decoding and inference both let go of the interpreter lock; a process would have to copy the pixels.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterable[Item], *, depth: int = 64) -> Iterator[Item]:
    """Yield `items` in order while a thread produces up to `depth` of them in advance.

    An exception raised by `items` is raised here, at its place in the order. The thread ends when the consumer stops early:
    closing this iterator waits for the item in work.
    """
    ready: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(entry: tuple[bool, Item | BaseException | None]) -> None:
        while not stopped.is_set():
            try:
                return ready.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put((True, item))
                if stopped.is_set():
                    return
        except BaseException as failure:  # crosses the thread and is raised by the consumer
            return put((False, failure))
        put((False, None))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while (entry := ready.get())[0]:
            yield entry[1]  # type: ignore[misc]  # True marks an item
        if isinstance(entry[1], BaseException):
            raise entry[1]
    finally:
        stopped.set()
        thread.join()


def batches(items: Iterable[Item], *, size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items in order; the last may be shorter."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
