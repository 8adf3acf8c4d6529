import threading
import time

import pytest

from curation.prefetch import batches, prefetch


def numbers(limit, produced):
    for number in range(limit):
        produced.append(number)
        yield number


def test_items_arrive_in_order():
    assert list(prefetch(iter(range(1000)), depth=7)) == list(range(1000))


def test_an_exception_arrives_at_its_place_in_the_order():
    def failing():
        yield from (1, 2)
        raise ValueError("third")

    taken = []
    with pytest.raises(ValueError, match="third"):
        taken.extend(iter_into(taken, prefetch(failing())))
    assert taken == [1, 2]


def iter_into(taken, items):
    for item in items:
        taken.append(item)
    return []


def test_at_most_depth_items_are_made_in_advance():
    produced = []
    ahead = prefetch(numbers(100, produced), depth=4)
    next(ahead)
    time.sleep(0.2)
    assert len(produced) <= 6  # one taken, four waiting, one in the thread's hand
    ahead.close()


def test_the_thread_ends_when_the_consumer_stops_early():
    ahead = prefetch(numbers(10**9, []), depth=2)
    next(ahead)
    ahead.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_batches_keep_order_and_the_last_is_short():
    assert list(batches(range(7), size=3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], size=3)) == []
