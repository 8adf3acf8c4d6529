"""The communities of a whole collection: one row per image, from the partitions of all bins.

An image that nothing is joined to is its own component and community. Names are the smallest global row: they depend on which
images belong together and on nothing else, so an increment that does not touch a community does not rename it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation import schema
from graph.forest import components
from graph.leiden import Method
from graph.sparse import divide

Rows = NDArray[np.int64]

SIZED = pa.schema([("row", pa.int64()), ("component", pa.int64()), ("community", pa.int64()), ("size", pa.int32())])


def communities(*, ids: pa.ChunkedArray | pa.Array, partitions: pa.Table, first_row: int = 0) -> pa.Table:
    """Return COMMUNITIES, one row per id.

    ids: of consecutive images, the first of which is `first_row`. partitions: `sized` partitions of those images that have any.
    """
    rows = np.arange(first_row, first_row + len(ids), dtype=np.int64)
    component, community, size = rows.copy(), rows.copy(), np.ones(len(rows), np.int32)
    at = partitions["row"].to_numpy() - first_row
    component[at], community[at] = partitions["component"].to_numpy(), partitions["community"].to_numpy()
    size[at] = partitions["size"].to_numpy()
    table = pa.table({"id": ids, "component": component, "community": community, "size": size})
    return schema.conform(table, schema.COMMUNITIES)


def sized(partitions: pa.Table) -> pa.Table:
    """Return row, component and community of PARTITIONS with the size of the community; communities are whole in a bin."""
    community = partitions["community"].to_numpy()
    _, place, count = np.unique(community, return_inverse=True, return_counts=True)
    columns = {name: partitions[name] for name in ("row", "component", "community")}
    return pa.table(columns | {"size": count[place].astype(np.int32)}).cast(SIZED)


def verified_partitions(
    *, ids: NDArray[np.str_], exact: pa.Table, verdicts: pa.Table, resolution: float = 0.3, method: Method = "igraph"
) -> pa.Table:
    """Return PARTITIONS of a whole collection at once, by its verified copies weighted by confidence; keepers are null.

    ids: (N,) content ids by global row. exact: EXACT; exact copies are one member. verdicts: VERDICTS; only copies count.
    Raises ValueError when resolution is outside (0, 1].
    """
    if not 0 < resolution <= 1:
        raise ValueError(f"resolution = {resolution} must be in (0, 1]: it is compared with confidences")
    rows, node = np.arange(len(ids), dtype=np.int64), exact["representative"].to_numpy()
    copies = verdicts.filter(pc.equal(verdicts["relation"], "copy"))
    a, b = node[copies["row_a"].to_numpy()], node[copies["row_b"].to_numpy()]
    component = components(len(ids), np.concatenate([rows, a]), np.concatenate([node, b]))
    weight = copies["confidence"].to_numpy()
    community = divide(component=component, ids=ids, a=a, b=b, weight=weight, resolution=resolution, method=method)[node]
    columns = {"row": rows, "component": component, "community": community}
    nothing = pa.nulls(len(rows))
    return schema.conform(pa.table(columns | {"keeper_row": nothing, "similarity": nothing}), schema.PARTITIONS)
