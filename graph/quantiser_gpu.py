"""Training centroids and finding the lists of vectors on a GPU: every vector meets every centroid, in tiles.

Enters: unit vectors. Leaves: the same as graph/quantiser.py. A GPU multiplies with all of some hundred thousand centroids in
the time that it takes to read a vector, so nothing is left out: there is no descending into cells. The cells are made all the
same, from the centroids themselves, for a CPU that has to look for lists later. Sums are made in one order, list by list, so
the same sample gives the same centroids on the same kind of GPU.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from graph.quantiser import ITERATIONS, TWO_LEVEL_LISTS, Numbers, Quantiser
from graph.scan_gpu import _affordable, on_device, sum_in_float32, unit_rows
from graph.vectors import Floats, keys

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 1 << 17
"""Vectors on the device at a time."""
GROUP = 64
"""Centroids of which the largest product stands for all when the nearest are looked for."""
SPARE = 3
"""More centroids than wanted that float16 products propose, so that float32 decides which are nearest. Where more of them than
this are as near as float16 can tell, inside a crowd of nearly equal vectors, one is left out that is nearer by that rounding."""


def train_on(sample: Floats, *, num_lists: int, device: str, seed: int = 0) -> Quantiser:
    """Return a quantiser of `num_lists` lists for unit vectors; never more lists than different rows in the sample."""
    first = np.unique(keys(sample), return_index=True)[1]
    rows = on_device(sample[np.sort(first)] if len(first) < len(sample) else sample, device).float()
    num_lists = max(1, min(num_lists, len(rows)))
    centroids = _kmeans(rows, num_lists, seed)
    none = np.empty((0, rows.shape[1]), np.float32)
    if num_lists < TWO_LEVEL_LISTS:
        return Quantiser(centroids.cpu().numpy(), none, np.zeros(1, np.int64))
    cells = _kmeans(centroids, round(num_lists**0.5), seed)
    cell = _nearest(centroids, cells, 1)[1][:, 0]
    order = cell.argsort(dim=0, stable=True)
    start = np.searchsorted(cell[order].cpu().numpy(), np.arange(len(cells) + 1)).astype(np.int64)
    return Quantiser(centroids[order].cpu().numpy(), cells.cpu().numpy(), start)


def _kmeans(rows: "Tensor", count: int, seed: int) -> "Tensor":
    """Return `count` unit centroids, by spherical k-means from random rows."""
    import torch

    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])
    centroids = rows[torch.from_numpy(chosen).to(rows.device)]
    for _ in range(ITERATIONS if count < len(rows) else 0):
        nearest = _nearest(rows, centroids, 1)[1][:, 0]
        order = nearest.argsort(dim=0, stable=True)
        size = torch.bincount(nearest, minlength=count)
        sums = torch.segment_reduce(rows[order], "sum", lengths=size, axis=0, unsafe=True)
        centroids = unit_rows(_filled(sums, size))
    return centroids


def _filled(sums: "Tensor", size: "Tensor") -> "Tensor":
    """Return the sums with every empty list's replaced by half of the largest list's, moved a little to either side."""
    import torch

    empty = torch.nonzero(size == 0).flatten()
    if not len(empty):
        return sums
    largest = size.argsort(dim=0, descending=True, stable=True)[: len(empty)]
    step = torch.where(torch.arange(sums.shape[1], device=sums.device) % 2 == 0, 1 / 1024, -1 / 1024)
    sums[empty[: len(largest)]] = sums[largest] * (1 + step)
    sums[largest] *= 1 - step
    return sums


def probes_on(
    vectors: "NDArray[np.floating] | Tensor",
    quantiser: Quantiser,
    *,
    nprobe: int,
    device: str,
    margin: float = 2.0,
    mean: Floats | None = None,
    dtype: str = "",
) -> Numbers:
    """Return the lists of every vector, nearest first, int32 (N, nprobe); -1 fills what is not probed.

    vectors: (N, d) of any length. margin: see `graph.quantiser.probes`. mean: subtracted from the unit vectors before. dtype: of
    the products that propose lists, float16 on a GPU and float32 on a CPU unless another is wanted; a list proposed by float16
    has a cosine at most twice `graph.scan_gpu.SLACK` below that of the list which should be in its place.
    """
    import torch

    centroids = on_device(quantiser.centroids, device)
    middle = None if mean is None else on_device(mean, device)
    wanted = min(nprobe, quantiser.num_lists)
    found = np.full((len(vectors), nprobe), -1, np.int32)
    for at in range(0, len(vectors), ROWS):
        rows = unit_rows(on_device(vectors[at : at + ROWS], device))
        cosine, lists = _nearest(rows if middle is None else unit_rows(rows - middle), centroids, wanted, dtype)
        near = torch.where(cosine >= cosine[:, :1] - margin, lists, -1)
        found[at : at + ROWS, :wanted] = near.int().cpu().numpy()
    return found


def _nearest(rows: "Tensor", centroids: "Tensor", wanted: int, dtype: str = "") -> tuple["Tensor", "Tensor"]:
    """Return the cosines and the numbers of the `wanted` nearest centroids of some rows, nearest first, ties by number."""
    import torch

    sum_in_float32()
    kind: torch.dtype = getattr(torch, dtype or ("float16" if rows.is_cuda else "float32"))
    most = min(wanted + SPARE, len(centroids))
    padded = torch.zeros(-(-len(centroids) // GROUP) * GROUP, rows.shape[1], dtype=kind, device=rows.device)
    padded[: len(centroids)] = centroids
    step = max(1, _affordable(str(rows.device)) // 4 // len(padded))
    found = []
    for at in range(0, len(rows), step):
        some = rows[at : at + step]
        products = some.to(kind) @ padded.T
        products[:, len(centroids) :] = -2
        number = _largest(products, most)
        exact = torch.bmm(centroids[number], some[:, :, None])[:, :, 0] if most > 1 else torch.zeros_like(number).float()
        number, exact = _sorted_by(number, exact)
        found.append((exact[:, :wanted], number[:, :wanted]))
    if not found:
        return torch.empty(0, wanted), torch.empty(0, wanted, dtype=torch.int64)
    cosine, numbers = zip(*found, strict=True)
    return torch.cat(cosine), torch.cat(numbers)


def _largest(products: "Tensor", most: int) -> "Tensor":
    """Return the columns of the largest products of every row: those in the groups whose largest are largest."""
    groups = products.view(len(products), -1, GROUP)
    if groups.shape[1] <= most:
        return products.topk(most).indices
    best = groups.amax(2).topk(most).indices
    inside = groups.gather(1, best[:, :, None].expand(-1, -1, GROUP)).flatten(1).topk(most).indices
    return best.gather(1, inside // GROUP) * GROUP + inside % GROUP


def _sorted_by(number: "Tensor", cosine: "Tensor") -> tuple["Tensor", "Tensor"]:
    order = number.argsort(dim=1)
    number, cosine = number.gather(1, order), cosine.gather(1, order)
    order = cosine.argsort(dim=1, descending=True, stable=True)
    return number.gather(1, order), cosine.gather(1, order)
