"""Weights where they lie: tensors of safetensors files by name, of which a process reads the rows that it holds.

Files are mapped into memory, not read: a model larger than main memory can be divided among processes from one folder. Adapters
are added to their base as it is read, one matrix at a time.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from torch import Tensor

from curation.errors import ModelError
from model.lora import adapted_weight, check_layers

Rows = slice | None
"""Rows of a tensor; None: all of it."""


class Weights(Protocol):
    """Named tensors that can be read one at a time."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Whole shapes by name."""

    def read(self, name: str, rows: Rows = None) -> Tensor:
        """Return a tensor or some of its rows, in main memory."""


class StoredWeights:
    """The tensors of safetensors files, each name in one of them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read the headers alone; raises ModelError for a file that is no safetensors."""
        self._files, self.shapes = dict[str, Path](), dict[str, tuple[int, ...]]()
        self._open: tuple[Path, Any] | None = None
        for path in paths:
            file = self._file(path)
            for name in file.keys():
                self._files[name] = path
                self.shapes[name] = tuple(file.get_slice(name).get_shape())

    def read(self, name: str, rows: Rows = None) -> Tensor:
        """Return a tensor or some of its rows as stored; good until the file is changed."""
        file = self._file(self._files[name])
        found: Tensor = file.get_tensor(name) if rows is None else file.get_slice(name)[rows]
        return found

    def _file(self, path: Path) -> Any:
        """Return an open file; the last one stays open, for names come in the order of files, more or less."""
        if self._open is None or self._open[0] != path:
            try:
                self._open = path, safe_open(path, framework="pt")
            except (OSError, SafetensorError) as error:
                raise ModelError(f"{path} is no safetensors file: {error}") from error
        return self._open[1]


class AdaptedWeights:
    """Weights with portable adapters (model/lora.py) added as they are read."""

    def __init__(self, base: Weights, adapters: Mapping[str, Tensor]) -> None:
        """Raises ModelError for an adapter of a layer that the base lacks or of another size."""
        check_layers(adapters, base.shapes)
        self._base, self._adapters, self.shapes = base, adapters, base.shapes

    def read(self, name: str, rows: Rows = None) -> Tensor:
        """Return a tensor or some of its rows; the product is formed whole, so that its bits do not depend on the rows."""
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_A.weight" not in self._adapters:
            return self._base.read(name, rows)
        a, b = (self._adapters[f"{layer}.lora_{half}.weight"] for half in "AB")
        whole = adapted_weight(self._base.read(name), a, b)
        return whole if rows is None else whole[rows]
