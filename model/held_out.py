"""Which samples training never sees: a share of them by a hash of their id, the same on every machine and in every stage."""

import hashlib


def held_out_place(sample: str, seed: int) -> float:
    """Return the place of a sample in [0, 1), uniform over ids: BLAKE2b of seed and id. Samples below the share are held out."""
    digest = hashlib.blake2b(f"held out/{seed}/{sample}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_held_out(sample: str, share: float, seed: int) -> bool:
    """Say whether the sample of an id is held out. A larger share holds out all that a smaller one does, and more."""
    return held_out_place(sample, seed) < share
