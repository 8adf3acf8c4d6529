"""A weighted draw of images without replacement that depends on nothing but id, weight and seed.

Every image gets the key u^(1/w), u a hash of id and seed, and the largest keys are taken (Efraimidis & Spirakis 2006,
https://doi.org/10.1016/j.ipl.2005.11.003): the same as drawing one after another with probability proportional to weight. No
stream of random numbers is consumed, so order, parts and workers play no part, and a larger budget only adds images.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def uniforms(ids: Sequence[str], *, seed: int) -> Floats:
    """Return (images,), in (0, 1): the hash of id and seed as 53 bits, between two of which no key can be 0 or 1."""
    salt = f"{seed}:".encode()
    digests = b"".join(hashlib.blake2b(salt + one.encode(), digest_size=8).digest() for one in ids)
    return np.asarray(((np.frombuffer(digests, ">u8") >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53)


def keys(ids: Sequence[str], weights: Floats, *, seed: int) -> Floats:
    """Return (images,) ln(u) / w, which sorts as u^(1/w) does and never underflows; -inf for weight 0.

    Raises ValueError for a weight that is negative, infinite or NaN.
    """
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ValueError(f"weight {weights[wrong[0]]} of image {ids[int(wrong[0])]}: weights are finite and not negative")
    drawn = np.full(len(weights), -np.inf)
    known = weights > 0
    drawn[known] = np.log(uniforms([ids[row] for row in np.flatnonzero(known).tolist()], seed=seed)) / weights[known]
    return drawn


def draw(ids: Sequence[str], weights: Floats, number: int, *, seed: int) -> Flags:
    """Return bool (images,): the `number` images of the largest keys; the id breaks ties.

    Images of weight 0 are never taken, so fewer may come out. Raises ValueError as `keys` does, and for a negative number.
    """
    if number < 0:
        raise ValueError(f"{number} images cannot be drawn")
    drawn = keys(ids, weights, seed=seed)
    ranked = np.lexsort((np.array(ids, dtype=object).astype(str), -drawn))[:number]
    taken = np.zeros(len(drawn), dtype=bool)
    taken[ranked] = True
    return np.asarray(taken & np.isfinite(drawn))
