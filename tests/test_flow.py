import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.flow import (
    clean_prediction,
    dynamic_shift,
    guide,
    interpolate,
    logit_normal,
    per_sample_loss,
    shift_time,
    sigmas,
    times,
    velocity_target,
)

SCHEDULES = json.loads((Path(__file__).parent / "data" / "zimage_tiny.json").read_text())["schedules"]


def test_the_path_runs_from_noise_at_0_to_data_at_1():
    data, noise = torch.full((2, 3), 5.0), torch.full((2, 3), -1.0)
    assert torch.equal(interpolate(data, noise, 0.0), noise)
    assert torch.equal(interpolate(data, noise, 1.0), data)
    step = (interpolate(data, noise, 0.7) - interpolate(data, noise, 0.2)) / 0.5
    assert torch.allclose(step, velocity_target(data, noise))


def test_the_true_velocity_points_at_the_data_from_everywhere():
    data, noise = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    for t in (0.0, 0.3, 0.9):
        assert torch.allclose(clean_prediction(interpolate(data, noise, t), velocity_target(data, noise), t), data, atol=1e-6)


@pytest.mark.parametrize("num_steps", [8, 9, 28, 50])
def test_the_step_grid_is_that_of_the_released_sampler(num_steps: int):
    grid = sigmas(num_steps, shift=3.0)
    assert grid == pytest.approx(SCHEDULES[f"shift3_n{num_steps}"], abs=1e-6)
    assert len(grid) == num_steps + 1
    assert times(num_steps, shift=3.0) == pytest.approx(1 - grid)


def test_without_shift_the_grid_is_even():
    assert sigmas(4, shift=1.0) == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    with pytest.raises(ValueError, match="at least 1"):
        sigmas(0, shift=1.0)


def test_dynamic_shift_passes_through_both_published_points():
    assert dynamic_shift(256) == pytest.approx(np.exp(0.5))
    assert dynamic_shift(4096) == pytest.approx(np.exp(1.15))


def test_training_times_are_logit_normal_and_shift_towards_noise():
    normal = np.random.default_rng(0).standard_normal(200_000)
    t = logit_normal(normal)
    assert np.log(t / (1 - t)).std() == pytest.approx(1, abs=0.01)
    assert t.mean() == pytest.approx(0.5, abs=0.005)
    assert np.median(logit_normal(normal, shift=3.0)) == pytest.approx(0.25, abs=0.01)  # s = .5 -> 3 * .5 / 2 = .75
    assert shift_time(np.array([0.0, 1.0]), 3.0) == pytest.approx([0, 1])


def test_guidance_of_1_is_none_and_normalisation_caps_the_norm():
    c, u = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(guide(c, u, guidance=1.0), c, atol=1e-6)
    assert torch.allclose(guide(c, u, guidance=0.0), u)
    capped = guide(c, u, guidance=5.0, normalization=1.0)
    assert torch.allclose(capped.flatten(1).norm(dim=1), c.flatten(1).norm(dim=1), rtol=1e-5)


def test_the_loss_is_a_mean_per_sample():
    prediction = torch.zeros(2, 3, 4, 4)
    target = torch.stack([torch.ones(3, 4, 4), 2 * torch.ones(3, 4, 4)])
    assert per_sample_loss(prediction, target).tolist() == [1.0, 4.0]
