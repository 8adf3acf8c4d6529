"""What a comparison needs of a picture, unpacked from KEYPOINTS once and kept while it is needed.

Enters: KEYPOINTS. Leaves: views, decoded on demand; pairs come in an order in which a small store serves most of them.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

from graph import keypoints as keypoints_room
from graph.alignment import Frame, mirror
from graph.content import Content, content
from graph.graphics import filled
from graph.keypoints import Description, Pixels, Row
from graph.thumbnails import SIDE


@dataclass(frozen=True)
class View:
    """A described picture with what is derived from it once, when a pair first asks: most pairs ask for keypoints alone."""

    row: Description
    scale: float  # px of the picture per px of the file
    thumbnail: Pixels  # (32, 32, 3), RGB

    @cached_property
    def mirrored(self) -> Description:
        """The description of the picture mirrored left to right."""
        return mirror(self.row)

    @cached_property
    def frame(self) -> Frame:
        """The picture without margins of one grey level."""
        return _frame(self.row.picture)

    @cached_property
    def content(self) -> Content:
        """Where there is anything to see."""
        return content(self.row.picture, self.frame)

    @cached_property
    def colours(self) -> Pixels:
        """The picture in colour, (H, W, 3), BGR; few pairs ask for it."""
        return keypoints_room.unpack_colours(self.row.encoded)

    @cached_property
    def filled(self) -> float:
        """Share that a few flat colours fill."""
        return filled(self.colours)


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
            self._kept[position] = _view(self._table.slice(position, 1).to_pylist()[0])
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        self._kept.move_to_end(position)
        return self._kept[position]


def near_order(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of pairs (left[i], right[i]) in an order that comes back to each image soon.

    Images are numbered along the bands of their graph (Cuthill & McKee 1969, https://doi.org/10.1145/800195.805928), so the
    neighbours of one are the neighbours of the next.
    """
    count = int(max(left.max(initial=0), right.max(initial=0))) + 1
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count)).tocsr()
    place = np.empty(count, np.int64)
    place[reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)] = np.arange(count)
    return np.asarray(np.lexsort((np.maximum(place[left], place[right]), np.minimum(place[left], place[right]))), np.int64)


def _view(row: Row) -> View:
    scale = row["scale"]
    assert isinstance(scale, float)
    thumbnail = row["thumbnail"]
    assert isinstance(thumbnail, bytes)
    return View(keypoints_room.unpack(row), scale, np.frombuffer(thumbnail, np.uint8).reshape(SIDE, SIDE, 3))


def _frame(picture: Pixels, max_spread: float = 6.0) -> Frame:
    """Return the frame without margins of one grey level; the whole when little would remain."""
    height, width = picture.shape
    rows, columns = (np.flatnonzero(_spread(picture, axis) > max_spread) for axis in (1, 0))
    if len(rows) < height / 2 or len(columns) < width / 2:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _spread(picture: Pixels, axis: int) -> NDArray[np.float64]:
    """Return the standard deviation of grey values along an axis: sums of whole numbers, so nothing is rounded before the end."""
    count = picture.shape[axis]
    total = picture.sum(axis, dtype=np.int64)
    squares = np.square(picture, dtype=np.uint16).sum(axis, dtype=np.int64)
    return np.asarray(np.sqrt(count * squares - total**2) / count, np.float64)
