"""Random draws that belong to a place in training, not to a stream: the same on every machine, rank and resume."""

import hashlib

import numpy as np


def draws(seed: int, epoch: int, number: int, slot: int) -> np.random.Generator:
    """Return the generator of one slot of one batch of one epoch."""
    key = hashlib.blake2b(f"{seed}/{epoch}/{number}/{slot}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype="<u8")))
