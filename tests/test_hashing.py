import cv2
import numpy as np
import pytest
from scipy.fft import dctn
from skimage import data

from curation.errors import ImageloomError
from curation.hashing import ORIENTATIONS, dihedral_hashes, hamming, pdq_coefficients, pdq_hash

GREY = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)
# What each orientation means, in numpy's words.
TURNED = {
    "same": lambda g: g,
    "mirror": np.fliplr,
    "flip": np.flipud,
    "rotate180": lambda g: np.rot90(g, 2),
    "transpose": np.transpose,
    "rotate90": lambda g: np.rot90(g, -1),
    "rotate270": lambda g: np.rot90(g, 1),
    "transverse": lambda g: np.rot90(g, 2).T,
}


def hash_of(grey):
    return pdq_hash(pdq_coefficients(np.ascontiguousarray(grey))[0])


def test_transform_is_the_type_2_dct_without_frequency_zero():
    grey = cv2.resize(GREY, (64, 64), interpolation=cv2.INTER_AREA)  # at 64 px PDQ neither smooths nor samples
    coefficients, _ = pdq_coefficients(grey)
    expected = dctn(grey.astype(np.float64), type=2, norm="ortho")[1:17, 1:17]
    np.testing.assert_allclose(coefficients, expected, atol=0.03)  # float32 sums of 4096 levels, and 0.02 counts as 0


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_dihedral_hash_is_the_hash_of_the_turned_picture(orientation):
    coefficients, _ = pdq_coefficients(GREY)
    predicted = dihedral_hashes(coefficients)[ORIENTATIONS.index(orientation)]
    # sampling at 64 points is half a pixel off centre, hence a few bits
    assert hamming(predicted, hash_of(TURNED[orientation](GREY))) <= 10


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_dihedral_hash_is_exact_when_nothing_is_sampled(orientation):
    grey = cv2.resize(GREY, (64, 64), interpolation=cv2.INTER_AREA)
    predicted = dihedral_hashes(pdq_coefficients(grey)[0])[ORIENTATIONS.index(orientation)]
    assert hamming(predicted, hash_of(TURNED[orientation](grey))) <= 2  # coefficients at the median may round either way


def test_half_of_the_bits_are_set():
    assert int(hash_of(GREY), 16).bit_count() == 128


def test_recompressed_and_resized_copies_are_within_pdqs_distance():
    small = cv2.resize(GREY, (200, 200), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", GREY, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_GRAYSCALE)
    assert max(hamming(hash_of(GREY), hash_of(copy)) for copy in (small, jpeg)) <= 31


def test_other_pictures_are_far_away():
    others = [data.camera(), data.coins(), data.page(), cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2GRAY)]
    assert min(hamming(hash_of(GREY), hash_of(other)) for other in others) > 80


def test_quality_tells_structure_from_flat():
    assert pdq_coefficients(GREY)[1] == 100
    assert pdq_coefficients(np.full((90, 120), 200, np.uint8))[1] == 0


def test_flat_pictures_share_the_zero_hash():
    hashes = {hash_of(np.full(shape, level, np.uint8)) for shape, level in [((32, 32), 255), ((300, 200), 77), ((1, 1), 3)]}
    assert hashes == {"0" * 64}


def test_hashes_of_unequal_length_cannot_be_compared():
    with pytest.raises(ImageloomError, match="256 and 64 bits"):
        hamming("0" * 64, "0" * 16)
