"""Ingest: the source is listed once, cut into chunks, and every chunk becomes one part of IMAGES."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from curation.decode import DecodePolicy
from curation.errors import SourceError
from curation.ingest import ingest
from curation.ledger import LEFT_OUT
from curation.sources import SourceListing, list_source
from curation.tables import Run, canonical
from jobs.adopt import adopted, base_run
from jobs.known import without_known
from jobs.stage import Item, Output


@lru_cache(maxsize=4)
def _listing(source: str, part_rows: int) -> SourceListing:
    return list_source(source, part_rows=part_rows)


def source_digest(*, source: str, part_rows: int, **_: object) -> str:
    """Return the fingerprint of the source's listing: names, sizes and modification times."""
    return _listing(source, part_rows).fingerprint


def plan(run: Run, *, source: str, part_rows: int, **_: object) -> list[Item]:
    """Return one item per chunk of the source and record what is left out of it; raises SourceError when it holds no image."""
    listing = _listing(source, part_rows)
    before = adopted(run, "images").parts
    if not listing.chunks:
        ignored = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(listing.ignored.items()))
        raise SourceError(f"no image found in {source}" + (f" (ignored: {ignored})" if ignored else ""))
    run.store.put(LEFT_OUT, canonical(listing.ignored) + b"\n")
    chunks = without_known(listing.chunks, base_run(run), part_rows=part_rows) if before else listing.chunks
    if not chunks:
        raise SourceError(f"every image of {source} is already in the base; there is nothing to add")
    return [{"parts": [before + part], "chunk": chunk} for part, chunk in enumerate(chunks)]


def work(run: Run, item: Item, *, source: str, part_rows: int, timeout_seconds: float, policy: Mapping[str, Any]) -> list[Output]:
    """Read, hash and verify every image of one chunk."""
    rows = ingest(
        item["chunk"],
        policy=DecodePolicy(**{**policy, "formats": tuple(policy["formats"])}),
        isolated=bool(item.get("isolated")),
        timeout_seconds=timeout_seconds,
    )
    return [Output(item["parts"][0], rows)]
