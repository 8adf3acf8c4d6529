"""Waiting, rates and windows, on clocks that are arguments."""

import random
import threading
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.backoff import FIRST_SECONDS, MOST_SECONDS, asked_wait, backoff_seconds
from captioning.congestion import Window
from captioning.rate_limit import BURST_SECONDS, RateLimit

NOW = 1_790_000_000.0


@given(st.text(max_size=20), st.integers(1, 200))
def test_backoff_stays_below_its_bound_and_repeats_itself(key: str, tries: int) -> None:
    wait = backoff_seconds(key, tries)
    assert 0 <= wait <= min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(tries - 1, 50))
    assert wait == backoff_seconds(key, tries)


def test_jitter_is_full() -> None:
    """Of 2,000 keys the waits are uniform: mean half the bound, within 4 standard errors."""
    waits = [backoff_seconds(str(number), 4) for number in range(2_000)]
    bound = FIRST_SECONDS * 8
    assert abs(sum(waits) / len(waits) - bound / 2) < 4 * bound / (12 * 2_000) ** 0.5
    assert min(waits) < 0.01 * bound and max(waits) > 0.99 * bound


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"Retry-After": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"Retry-After": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"x-ratelimit-reset-requests": "1m30s", "x-ratelimit-remaining-requests": "0"}, 90.0),
        ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "59"}, None),
        ({"x-ratelimit-reset": str(NOW + 12)}, 12.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Wed, 99 Foo 2026 25:61:00 GMT"}, None),
        ({}, None),
    ],
)
def test_what_a_server_asks_for_is_read(headers: dict[str, str], wait: float | None) -> None:
    found = asked_wait(headers, now=NOW)
    assert found == wait if wait is None else found == pytest.approx(wait, abs=1e-6)


class Clock:
    """Time as an argument: it moves when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@settings(deadline=None)
@given(st.floats(1, 10_000), st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 50)), min_size=1, max_size=60))
def test_no_stretch_of_time_sees_more_than_rate_and_burst(per_minute: float, steps: list[tuple[float, float]]) -> None:
    """Brute force over all pairs of grants: units granted in [s, t] never exceed rate * (t - s) + burst + one grant."""
    clock = Clock()
    limit = RateLimit(per_minute, clock=clock)
    granted = []
    for pause, units in steps:
        clock.now += pause
        granted.append((clock.now + limit.reserve(units), units))
    rate = per_minute / 60
    assert granted == sorted(granted, key=lambda grant: grant[0])
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            units = sum(units for _, units in granted[first : last + 1])
            allowed = rate * (granted[last][0] - granted[first][0] + BURST_SECONDS)
            assert units <= allowed + granted[last][1] + 1e-3  # the wall clock has a resolution of 2e-7 s


def test_a_steady_sender_gets_the_whole_rate() -> None:
    clock = Clock()
    limit = RateLimit(600, clock=clock)
    for _ in range(100):
        clock.now += limit.reserve(1)
    assert clock.now - NOW == pytest.approx(99 / 10 - BURST_SECONDS, abs=0.01)


def test_given_back_units_are_there_again() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    limit.reserve(100)
    limit.correct(-90)
    assert limit.reserve(1) == pytest.approx(10 - BURST_SECONDS)


def test_objects_of_one_file_share_one_rate(tmp_path: Path) -> None:
    clock = Clock()
    limits = [RateLimit(60, file=tmp_path / "rate", clock=clock) for _ in range(4)]
    waits: list[float] = []
    threads = [threading.Thread(target=lambda one=one: waits.extend(one.reserve(1) for _ in range(25))) for one in limits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([max(0.0, number - BURST_SECONDS) for number in range(100)], abs=1e-3)


def test_nonsense_in_the_file_counts_as_empty(tmp_path: Path) -> None:
    for content in (b"\xff" * 8, b"abc", b"\x00" * 8, b"\x00\x00\x00\x00\x00\x00\xf0\x7f"):
        (tmp_path / "rate").write_bytes(content)
        assert RateLimit(60, file=tmp_path / "rate").reserve(1) == 0


def simulated(limit: int, *, ceiling: int, rounds: int) -> tuple[Window, list[int]]:
    """A server that takes `limit` at once and answers in rounds; returns the window and how many it answered per round."""
    window, answered = Window(ceiling=ceiling), []
    for _ in range(rounds):
        size, epoch = window.size, window.epoch
        for _ in range(min(size, limit)):
            window.succeeded()
        for _ in range(max(0, size - limit)):
            window.refused(epoch, accepted=limit)
        answered.append(min(size, limit))
    return window, answered


@pytest.mark.parametrize("limit", [1, 2, 7, 16, 50, 200])
def test_the_window_finds_the_servers_limit(limit: int) -> None:
    window, answered = simulated(limit, ceiling=1024, rounds=200)
    settled = answered[40:]
    assert sum(settled) >= 0.95 * limit * len(settled)
    assert window.refusals <= 200 * 0.6 + 3 * limit  # at most every second window, and the first overshoot


def test_refusals_that_have_nothing_to_do_with_the_size_do_not_pin_it() -> None:
    """A server that takes 32 and refuses every hundredth request whatever the load: 90 % of its throughput is still found."""
    generator, window, answered = random.Random(0), Window(ceiling=1024), []
    for _ in range(400):
        size, epoch = window.size, window.epoch
        unlucky = sum(generator.random() < 0.01 for _ in range(min(size, 32)))
        for _ in range(min(size, 32) - unlucky):
            window.succeeded()
        for refused in range(max(0, size - 32) + unlucky):
            window.refused(epoch, accepted=max(min(size, 32) - unlucky, size - 1 - refused))
        answered.append(min(size, 32))
    assert sum(answered[20:]) >= 0.9 * 32 * 380


def test_without_refusals_the_window_reaches_its_ceiling_and_no_more() -> None:
    window, answered = simulated(10_000, ceiling=64, rounds=12)
    assert window.size == 64 and max(answered) == 64


def test_the_refusals_of_one_burst_lower_the_window_to_what_was_accepted() -> None:
    window = Window(ceiling=100, start=100)
    epoch = window.epoch
    for others in range(99, 69, -1):  # 100 in flight, 70 accepted
        window.refused(epoch, accepted=others)
    assert window.size == 70 and window.epoch == epoch + 1
    for _ in range(30):  # a limit per minute refuses everything: no more than half at once
        window.refused(window.epoch - 1, accepted=0)
    assert window.size == 50


def test_clients_of_one_server_have_equal_shares_in_the_long_run() -> None:
    """Two windows of 50 and 14 on a server that takes 64: in random order each request beyond the limit is refused."""
    answered = [0, 0]
    generator = random.Random(1)
    windows = [Window(ceiling=1024, start=50), Window(ceiling=1024, start=14)]
    for _ in range(4000):
        sent = [(window, window.epoch) for window in windows for _ in range(window.size)]
        generator.shuffle(sent)
        for window, epoch in sent[64:]:
            window.refused(epoch, accepted=sum(other is window for other, _ in sent[:64]))
        for window, _ in sent[:64]:
            window.succeeded()
            answered[windows.index(window)] += 1
    assert 0.8 < answered[0] / answered[1] < 1.25 and sum(answered) >= 0.95 * 64 * 4000


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 64))
def test_the_window_never_leaves_its_bounds(outcomes: list[bool], ceiling: int) -> None:
    window = Window(ceiling=ceiling)
    for good in outcomes:
        window.succeeded() if good else window.refused(window.epoch, accepted=window.size - 1)
        assert 1 <= window.size <= ceiling
