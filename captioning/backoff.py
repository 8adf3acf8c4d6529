"""How long to wait before a request is tried again: what the server says, else exponential backoff with full jitter.

Full jitter (a uniform draw between zero and the exponential bound) spreads clients that failed together; see Brooker 2015,
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/. Draws come from a hash of the ask's key and the
number of the try, so a run repeats itself.
"""

import hashlib
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def backoff_seconds(key: str, tries: int) -> float:
    """Return a wait after `tries` failed tries, uniform in [0, min(MOST, FIRST * 2^(tries - 1))], the same for the same key."""
    bound = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(tries - 1, 30))
    return bound * uniform(key, tries)


def uniform(key: str, number: int) -> float:
    """Return a number in [0, 1) from a hash of its arguments."""
    return int.from_bytes(hashlib.sha256(f"{key}/{number}".encode()).digest()[:7], "big") / 2**56


def asked_wait(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds that a response asks to wait, None when it asks for none or says it unreadably.

    Understood: retry-after-ms; Retry-After in seconds or as an HTTP date (RFC 9110, 10.2.3); x-ratelimit-reset and its
    variants -requests and -tokens as a duration (6m0s, 120ms), seconds or Unix time, where -remaining- is 0.
    headers: names in any case. now: Unix time.
    """
    found = {name.lower(): value.strip() for name, value in headers.items()}
    wait = _scaled(found.get("retry-after-ms"), 0.001)
    if wait is None:
        wait = _seconds_or_date(found.get("retry-after"), now)
    if wait is None:
        resets = [
            _duration(found.get(f"x-ratelimit-reset{kind}"), now)
            for kind in ("", "-requests", "-tokens")
            if found.get(f"x-ratelimit-remaining{kind}", "0") == "0"
        ]
        wait = max((reset for reset in resets if reset is not None), default=None)
    return None if wait is None else max(0.0, wait)


def _scaled(text: str | None, unit: float) -> float | None:
    try:
        value = float(text or "") * unit
    except ValueError:
        return None
    return value if 0 <= value < 1e11 else None


def _seconds_or_date(text: str | None, now: float) -> float | None:
    seconds = _scaled(text, 1.0)
    if seconds is not None or not text:
        return seconds
    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None


def _duration(text: str | None, now: float) -> float | None:
    seconds = _scaled(text, 1.0)
    if seconds is not None:
        return seconds - now if seconds > 1e8 else seconds
    parts = _DURATION.findall(text or "")
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None
