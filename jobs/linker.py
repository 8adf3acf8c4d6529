"""Entities of a part's texts, and a model's choice among candidates when the YAML names a backend."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from captioning.knowledge import Linker
from jobs.backends import load_backend


class NameLinker:
    """Holds the knowledge base and, when asked for, the model; maps IMAGES, TAGS, OCR and WATERMARKS to MENTIONS."""

    def __init__(
        self,
        *,
        backend: str = "none",
        settings: Mapping[str, Any] | None = None,
        how: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        """Load what is needed; settings, how: of the backend, those that change answers and those that do not."""
        asked = None if backend == "none" else load_backend(backend, {**(settings or {}), **(how or {})})
        self._linker = Linker(**parameters, backend=asked)

    def __call__(self, **tables: pa.Table) -> pa.Table:
        """Return MENTIONS of a part, from the tables that `captioning.knowledge.Linker` reads."""
        return self._linker(**tables)
