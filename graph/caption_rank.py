"""Captions against the captions of pictures that look alike: does something else of the collection fit better?

An image's visual neighbours show about the same, so their captions, taken together, say what it should be called, even when some
of them are wrong. Enters: captions and neighbours. Leaves: for each image the shares of the collection's captions that fit its
neighbours' words better than its own does, and at least as well; near 0 for a good caption, anywhere for one drawn at random. No
encoder of text and image is needed, and no language is known: words are runs of letters and digits, or single characters of
scripts without spaces, weighed by how rare they are.

A vote of neighbours against noisy labels: Bahri, Jiang & Gupta 2020, https://arxiv.org/abs/2004.12289; here labels are bags of
words. It says nothing of images without neighbours, and calls a true caption of a rare thing among common lookalikes wrong: it
is a reason to look, and a reason to drop only where images are plenty.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

MIN_CAPTIONED = 5
"""Neighbours with a caption below which nothing is said."""
ROWS_AT_ONCE = 4096
ROUNDING = 1e-9
"""Equal captions fit equally well, whatever the order of their sums."""

_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)


def caption_ranks(
    captions: Sequence[str | None], neighbours: Sequence[Sequence[int]], *, others: int = 2048, seed: int = 0
) -> Floats:
    """Return for each image the shares, in [0, 1], of captions that fit its neighbours better than its own, and at least as well.

    float64 (images, 2); a number drawn evenly between both is uniform for a caption drawn at random, which is what
    graph/misplaced.py builds on.
    neighbours: rows of the images that look most alike, as in NEIGHBOURS. others: captions that stand for the collection, drawn
    with `seed`, or all if there are fewer. Unknown, nan, are images without a caption or with fewer than MIN_CAPTIONED
    captioned neighbours.
    """
    words = _weighed_words(captions)
    has = np.diff(words.indptr) > 0
    known = np.flatnonzero(has)
    ranks = np.full((len(captions), 2), np.nan)
    if not len(known):
        return ranks
    generator = np.random.Generator(np.random.Philox(key=seed))
    drawn = np.sort(generator.choice(known, min(others, len(known)), replace=False))
    sample = words[drawn].T.tocsc()
    for start in range(0, len(known), ROWS_AT_ONCE):
        rows = known[start : start + ROWS_AT_ONCE]
        votes = _votes([neighbours[row] for row in rows], has)
        around = votes @ words
        own = np.asarray(around.multiply(words[rows]).sum(axis=1))
        fits = (around @ sample).toarray()
        shares = np.stack([(fits > own + ROUNDING).mean(axis=1), (fits > own - ROUNDING).mean(axis=1)], axis=1)
        enough = np.diff(votes.indptr) >= MIN_CAPTIONED
        ranks[rows[enough]] = shares[enough]
    return ranks


def _votes(neighbours: Sequence[Sequence[int]], has: NDArray[np.bool_]) -> sparse.csr_matrix:
    """Return (images, all images) of 1 at neighbours that have a caption."""
    lists = [[row for row in rows if has[row]] for rows in neighbours]
    ends = np.cumsum([0, *map(len, lists)])
    columns = np.array([row for rows in lists for row in rows], dtype=np.int64)
    return sparse.csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(lists), len(has)))


def _weighed_words(captions: Sequence[str | None]) -> sparse.csr_matrix:
    """Return (images, words) of unit rows: each word once, by the logarithm of how rare it is; words of all captions weigh 0."""
    said = [sorted(set(_words(caption))) for caption in captions]
    number = {word: place for place, word in enumerate(sorted({word for words in said for word in words}))}
    ends = np.cumsum([0, *map(len, said)])
    columns = np.array([number[word] for words in said for word in words], dtype=np.int64)
    count = np.bincount(columns, minlength=len(number))
    weight = np.log(max(1, sum(map(bool, said))) / np.maximum(count, 1))
    table = sparse.csr_matrix((weight[columns], columns, ends), shape=(len(said), len(number)))
    norm = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.where(norm > 0, norm, 1)) @ table)


def _words(caption: str | None) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", caption or "").casefold())
