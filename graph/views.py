"""What a comparison needs of a picture, unpacked from KEYPOINTS once and kept while it is needed.

Enters: KEYPOINTS. Leaves: views, decoded on demand; pairs are sorted by their first row, so a small store serves most of them.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graph import keypoints as keypoints_room
from graph.alignment import Frame, mirror
from graph.content import Content, content
from graph.keypoints import Description, Pixels


@dataclass(frozen=True)
class View:
    """A described picture with what is derived from it once."""

    row: Description
    mirrored: Description
    frame: Frame  # the picture without margins of one grey level
    content: Content


class Views:
    """KEYPOINTS rows on demand; the last `limit` decoded ones are kept."""

    def __init__(self, keypoints: pa.Table, limit: int) -> None:
        self._table = keypoints
        self._limit = limit
        self._kept: OrderedDict[int, View] = OrderedDict()
        self.ids: list[str] = keypoints["id"].to_pylist()
        self.hashes: list[str | None] = keypoints["pixel_hash"].to_pylist()
        self.counts: list[int | None] = keypoints["count"].to_pylist()

    def __getitem__(self, position: int) -> View:
        if position not in self._kept:
            self._kept[position] = _view(keypoints_room.unpack(self._table.slice(position, 1).to_pylist()[0]))
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        self._kept.move_to_end(position)
        return self._kept[position]


def _view(description: Description) -> View:
    frame = _frame(description.picture)
    return View(description, mirror(description), frame, content(description.picture, frame))


def _frame(picture: Pixels, max_spread: float = 6.0) -> Frame:
    """Return the frame without margins of one grey level; the whole when little would remain."""
    height, width = picture.shape
    rows = np.flatnonzero(picture.std(1) > max_spread)
    columns = np.flatnonzero(picture.std(0) > max_spread)
    if len(rows) < height / 2 or len(columns) < width / 2:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
