"""What becomes of a picture that lies inside another one: a tile, a heavy crop, one panel of a collage, a picture in a window.

Containment is a relation with a direction and no copy, so it joins no group. A policy decides: keep both, drop the part in
favour of the whole, or drop the whole (the collage, the screenshot) in favour of its part. Asked after every other rule, and
only of pairs whose both images are kept by then, so that no picture goes in favour of one that is not in the shards.
"""

from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Policy = Literal["keep", "drop_part", "drop_whole"]
REASONS = {"drop_part": "contained", "drop_whole": "container"}
"""SELECTION.reason of the images that a policy drops."""

Rows = NDArray[np.int64]


def dropped_by_containment(duplicates: pa.Table, kept: NDArray[np.bool_], *, policy: Policy) -> tuple[Rows, Rows]:
    """Return the rows that go, ascending, and for each the row in whose favour.

    duplicates: DUPLICATES of the whole run; an image inside a copy is inside that copy's keeper. kept: bool (N,), what nothing
    else has dropped. Where two images contain each other, or in a longer circle, at least one stays.
    """
    return gone(*_pairs(duplicates), kept.copy(), policy=policy)


def gone(parts: Rows, wholes: Rows, left: NDArray[np.bool_], *, policy: Policy) -> tuple[Rows, Rows]:
    """Return the rows that go, ascending, and for each the row in whose favour, given pairs by ascending part.

    left: bool (N,), what nothing else has dropped; changed in place.
    """
    found: dict[int, int] = {}
    for part, whole in zip(parts.tolist(), wholes.tolist(), strict=True) if policy != "keep" else ():
        goes, stays = (part, whole) if policy == "drop_part" else (whole, part)
        if left[goes] and left[stays] and goes != stays:
            left[goes] = False
            found[goes] = stays
    rows = np.array(sorted(found), np.int64)
    return rows, np.array([found[row] for row in rows.tolist()], np.int64)


def _pairs(duplicates: pa.Table) -> tuple[Rows, Rows]:
    """Return the rows of parts, ascending, and the rows of the keepers that show all of them."""
    ids = duplicates["id"].to_pylist()
    row_of: dict[str, int] = {}
    for row, image_id in enumerate(ids):
        row_of.setdefault(image_id, row)
    keeper = duplicates["keeper_row"].to_pylist()
    pairs = [(row, row_of[name]) for row, name in enumerate(duplicates["contained_in"].to_pylist()) if name in row_of]
    wholes = [whole if keeper[whole] is None else keeper[whole] for _, whole in pairs]
    return np.array([part for part, _ in pairs], np.int64), np.array(wholes, np.int64)
