"""Whole-picture comparison of many pairs at once, from 32 x 32 thumbnails in the eight orientations.

Enters: thumbnails (U, 32, 32, 3) uint8 and index pairs. Leaves, per pair: the orientation of the first picture that fits the
second best, the correlation of grey values in it, and that of colours. Everything is a matrix product over blocks of pairs,
about ten microseconds a pair, so that tens of thousands of small pictures that look alike are told apart without opening one.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SIDE = 32
NUM_STATES = 8
"""The dihedral group: state s turns a picture by s % 4 quarter turns, after mirroring it when s >= 4."""

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma weights, ITU-R BT.601
CHROMA = np.array([[0.5, -0.419, -0.081], [-0.169, -0.331, 0.5]], np.float32)  # Cr and Cb, ITU-R BT.601
STRONG_CHROMA = 45.0
"""Distance from grey, 0 to 160, from which a colour has a hue that light and white balance do not turn around."""
WEAK_CHROMA = 14.0
"""The same where greys stayed grey, less the cast that they show: then no light turned anything."""
NEUTRAL_CHROMA = 8.0
"""Distance from grey of what is grey."""
MIN_NEUTRAL = 0.1
"""Share of greys that shows the cast."""
MAX_CAST = 12.0
MAX_CAST_SPREAD = 6.0
"""A cast is one small shift of all greys; a tint that depends on their tone is a filter."""
MAX_TURN = 0.7
"""Cosine of 45 degrees: hues further apart are different colours."""
MIN_LIKENESS = 0.8
"""Grey correlation below which colours are not compared: the pictures do not lie on each other."""
MIN_STRONG = 0.02
"""Share of strong colour below which nothing is recoloured."""
MIN_TINTED = 10.0
"""Distance from grey from which the edge of a picture is no white, grey or black ground."""
RING = 2
"""Pixels of a thumbnail's edge that show its ground."""
FLAT_LEVELS = 3
"""A pixel of a thumbnail is flat when it and its neighbours to the right and below span no more grey levels."""


@dataclass(frozen=True)
class Comparison:
    """What thumbnails say of P pairs."""

    state: Rows  # (P,) the orientation of the left picture that fits the right one best
    grey: Floats  # (P,) correlation of the grey thumbnails in that orientation
    colour: Floats  # (P,) correlation of all three channels together
    difference: Floats  # (P,) mean absolute difference of the channels, 0-255
    recoloured: Floats  # (P,) share of what is of strong colour in either that is of another strong hue in the other
    one_turn: Floats  # (P,) share of the colours that one turn of all hues explains; 0 where the edge has no colour
    flat: Floats  # (P,) share of flat pixels, in that of the two which has less: most of a drawing, little of a photograph


def turn(picture: NDArray[np.uint8], state: int) -> NDArray[np.uint8]:
    """Return the picture in orientation `state`."""
    mirrored = picture[:, ::-1] if state >= 4 else picture
    return np.ascontiguousarray(np.rot90(mirrored, state % 4))


def unpack(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return KEYPOINTS.thumbnail as uint8 (N, 32, 32, 3); a null row is black."""
    pixels = np.zeros((len(column), SIDE, SIDE, 3), np.uint8)
    for row, value in enumerate(column):
        if value.is_valid:
            pixels[row] = np.frombuffer(value.as_buffer(), np.uint8).reshape(SIDE, SIDE, 3)
    return pixels


def compare(thumbnails: NDArray[np.uint8], left: Rows, right: Rows, *, block_pairs: int = 1024) -> Comparison:
    """Return how well thumbnail left[i] fits thumbnail right[i], for every pair i."""
    grey = thumbnails.astype(np.float32) @ GREY
    coarse = _standardised(grey.reshape(-1, 16, 2, 16, 2).mean((2, 4)).reshape(len(grey), -1))
    fine = _standardised(grey.reshape(len(grey), -1))
    turned_coarse, turned_fine = _permutations(16), _permutations(SIDE)
    colour = _standardised(thumbnails.reshape(len(thumbnails), -1).astype(np.float32)).reshape(len(thumbnails), -1, 3)
    chroma = thumbnails.reshape(len(thumbnails), -1, 3).astype(np.float32) @ CHROMA.T
    flat = _flat_share(grey)
    edge = np.ones((SIDE, SIDE), bool)
    edge[RING:-RING, RING:-RING] = False
    parts = []
    for begin in range(0, len(left), block_pairs):
        a, b = left[begin : begin + block_pairs], right[begin : begin + block_pairs]
        state = np.einsum("psk,pk->ps", coarse[a][:, turned_coarse], coarse[b]).argmax(1)
        places = turned_fine[state]
        pixels = np.take_along_axis(thumbnails.reshape(len(thumbnails), -1, 3)[a], places[..., None], 1)
        grey_fit = np.einsum("pk,pk->p", np.take_along_axis(fine[a], places, 1), fine[b])
        recoloured, one_turn = np.zeros((2, len(a)), np.float32)
        near = np.flatnonzero(grey_fit >= MIN_LIKENESS)
        colours_a, colours_b = np.take_along_axis(chroma[a[near]], places[near][..., None], 1), chroma[b[near]]
        recoloured[near] = _recoloured(colours_a, colours_b)
        one_turn[near] = _one_turn(colours_a, colours_b, edge.ravel())
        difference = np.abs(pixels.astype(np.int16) - thumbnails.reshape(len(thumbnails), -1, 3)[b]).mean((1, 2))
        parts.append(
            (
                state.astype(np.int64),
                grey_fit,
                np.einsum("pkc,pkc->p", np.take_along_axis(colour[a], places[..., None], 1), colour[b]),
                difference.astype(np.float32),
                recoloured,
                one_turn,
                np.minimum(flat[a], flat[b]),
            )
        )
    if not parts:
        return Comparison(np.empty(0, np.int64), *(np.empty(0, np.float32) for _ in range(6)))
    return Comparison(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _flat_share(grey: Floats) -> Floats:
    """Return, for each grey thumbnail (N, 32, 32), the share of flat pixels."""
    corners = np.stack([grey[:, :-1, :-1], grey[:, :-1, 1:], grey[:, 1:, :-1], grey[:, 1:, 1:]])
    return np.asarray((np.ptp(corners, axis=0) <= FLAT_LEVELS).mean((1, 2)), np.float32)


def hues_under(a: NDArray[np.uint8], b: NDArray[np.uint8], matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Return `recoloured` and `one_turn` of thumbnail a, mapped by `matrix` (px of thumbnails), and thumbnail b (32, 32, 3)."""
    mapped = cv2.warpPerspective(a, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpPerspective(np.full((SIDE, SIDE), 255, np.uint8), matrix, (SIDE, SIDE)) == 255
    if not seen.any():
        return 0.0, 0.0
    one, other = ((picture.astype(np.float32) @ CHROMA.T)[seen][None] for picture in (mapped, b))
    edge = seen & ~cv2.erode(seen.view(np.uint8), np.ones((2 * RING + 1,) * 2, np.uint8), borderValue=0).astype(bool)
    return float(_recoloured(one, other)[0]), float(_one_turn(one, other, edge[seen])[0])


def _recoloured(a: Floats, b: Floats) -> Floats:
    """Return the share (P,) of the coloured pixels of a or b (P, K, 2) that are of another hue in the other.

    Strong colours count; where greys stayed grey, up to one cast, weak ones do as well.
    """
    greys = np.linalg.norm(a, axis=2) < NEUTRAL_CHROMA
    count = np.maximum(greys.sum(1), 1)[:, None]
    cast = ((b - a) * greys[..., None]).sum(1) / count
    spread = np.sqrt((np.square(b - a - cast[:, None]).sum(2) * greys).sum(1) / count[:, 0])
    stayed = (greys.mean(1) >= MIN_NEUTRAL) & (np.linalg.norm(cast, axis=1) <= MAX_CAST) & (spread <= MAX_CAST_SPREAD)
    weak = np.where(stayed, _turned(a, b - cast[:, None], WEAK_CHROMA), 0)
    return np.asarray(np.maximum(_turned(a, b, STRONG_CHROMA), weak), np.float32)


def _turned(a: Floats, b: Floats, least: float) -> Floats:
    """Return the share (P,) of the pixels of a or b whose chroma is `least` or more that have another such hue in the other."""
    strength_a, strength_b = (np.linalg.norm(chroma, axis=2) for chroma in (a, b))
    strong_a, strong_b = strength_a >= least, strength_b >= least
    turned = strong_a & strong_b & ((a * b).sum(2) < MAX_TURN * strength_a * strength_b)
    either = (strong_a | strong_b).sum(1)
    share = turned.sum(1) / np.maximum(either, 1)
    return np.where(either >= MIN_STRONG * a.shape[1], share, 0).astype(np.float32)


def _one_turn(a: Floats, b: Floats, edge: NDArray[np.bool_]) -> Floats:
    """Return the share of the hues of b (P, K, 2) that are those of a turned, or mirrored and turned, by one angle: 0 to 1.

    A hue shift or swapped channels turn the colours of everything, a red shoe that was painted blue turns alone. On a white
    ground the two are the same, so at most half of the edge may be without colour.
    """
    one, other = (chroma[..., 0] + 1j * chroma[..., 1] for chroma in (a, b))
    coloured = np.minimum(np.abs(one), np.abs(other)) >= MIN_TINTED
    one, other = (np.where(coloured, hue / np.maximum(np.abs(hue), 1e-6), 0) for hue in (one, other))
    together = np.maximum(np.abs((one.conj() * other).sum(1)), np.abs((one * other).sum(1)))
    ground = coloured[:, edge].mean(1)
    return np.where(ground >= 0.5, together / np.maximum(coloured.sum(1), 1), 0).astype(np.float32)


def _standardised(values: Floats) -> Floats:
    """Return rows of mean 0 and length 1; a row without contrast stays 0 and correlates with nothing."""
    centred = values - values.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.where(length > np.sqrt(values.shape[1]), centred / np.maximum(length, 1e-6), 0).astype(np.float32)


def _permutations(side: int) -> Rows:
    """Return (8, side * side): where pixel k of the turned picture lies in the upright one."""
    place = np.arange(side * side).reshape(side, side)
    return np.stack([np.rot90(place[:, ::-1] if s >= 4 else place, s % 4).ravel() for s in range(NUM_STATES)])
