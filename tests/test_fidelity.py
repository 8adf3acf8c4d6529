import numpy as np
import pytest
from scipy.linalg import sqrtm

from model.fidelity import frechet_distance, precision, recall


def test_the_frechet_distance_of_two_normals_is_its_closed_form():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0, 1, (20_000, 3)), generator.normal(1, 2, (20_000, 3))
    assert frechet_distance(a, b) == pytest.approx(3 * 1 + 3 * (1 - 2) ** 2, rel=0.05)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_is_that_of_the_matrix_square_root():
    generator = np.random.default_rng(1)
    a, b = (generator.normal(size=(50, 6)) @ generator.normal(size=(6, 6)) + shift for shift in (0, 0.3))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    few = a[:4]  # a singular covariance
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)


def _recall_by_loops(real: np.ndarray, generated: np.ndarray, k: int) -> float:
    radii = [sorted(float(np.linalg.norm(g - other)) for other in generated)[k] for g in generated]
    found = [any(np.linalg.norm(r - g) <= radius for g, radius in zip(generated, radii, strict=True)) for r in real]
    return float(np.mean(found))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_what_loops_over_all_points_give(k: int):
    generator = np.random.default_rng(k)
    real, generated = generator.normal(0, 1, (60, 4)), generator.normal(0.5, 0.7, (40, 4))
    assert recall(real, generated, k=k) == _recall_by_loops(real, generated, k)
    assert precision(real, generated, k=k) == _recall_by_loops(generated, real, k)


def test_the_order_of_points_does_not_matter_beyond_one_block():
    generator = np.random.default_rng(0)
    real, generated = generator.normal(0, 1, (700, 2)), generator.normal(0, 1, (600, 2))
    assert recall(real, generated) == recall(real[::-1], generated[::-1])
    assert recall(real, real) == precision(real, real) == 1.0


def test_recall_is_the_share_of_real_points_among_the_generated():
    generator = np.random.default_rng(0)
    real = np.concatenate([generator.normal(0, 1, (200, 2)), generator.normal(50, 1, (200, 2))])
    mean = np.concatenate([generator.normal(0, 1e-3, (200, 2)), generator.normal(50, 1e-3, (200, 2))])
    assert recall(real, generator.normal(0, 1, (400, 2))) == pytest.approx(0.5, abs=0.03)
    assert recall(real, mean) < 0.1 and precision(real, mean) == 1.0  # class means look real and cover nothing
