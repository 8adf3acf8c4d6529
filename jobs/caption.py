"""Captions of a part, with the approved corrections when the YAML names a file of remedies."""

from typing import Any

import pyarrow as pa

from captioning.facts import caption
from curation.remedies import checked_remedies, corrected


class Captioner:
    """Holds the corrections; maps a part's tables to CAPTIONS."""

    def __init__(self, *, corrections: str | None = None, corrections_sha256: str = "", **parameters: Any) -> None:
        self._parameters = parameters
        self._relabels = checked_remedies(corrections, corrections_sha256).relabels if corrections else {}

    def __call__(self, **tables: pa.Table) -> pa.Table:
        """Write the captions, then correct them."""
        written = caption(**tables, **self._parameters)
        return corrected(written, self._relabels) if self._relabels else written
