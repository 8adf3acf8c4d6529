"""The omni variant against the released implementation and its closed-form values."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from closed_form import fill, inputs

from model.config import DiTConfig, from_dict
from model.dit import DiT
from model.omni import OmniSample, refine

REFERENCE = json.loads((Path(__file__).parent / "data" / "zimage_tiny.json").read_text())
CONFIG = from_dict(DiTConfig, {**REFERENCE["config"], "siglip_feat_dim": REFERENCE["siglip_feat_dim"]})
WIDTH = REFERENCE["siglip_feat_dim"]
OWN = ("pad_to", "scrambled_siglip", "shifted_text_positions")
QUARTER = torch.tensor([0.25])


def check(case: str, tensor: torch.Tensor) -> None:
    expected, flat = REFERENCE["cases"][case], tensor.double().flatten()
    assert flat.numel() == expected["n"]
    assert float(flat.sum()) == pytest.approx(expected["sum"], abs=1e-2)
    assert float(flat.abs().sum()) == pytest.approx(expected["abs"], abs=1e-2)
    assert [float(x) for x in flat[:4]] == pytest.approx(expected["first"], abs=1e-4)


def edit(lengths: tuple[int, ...], grid: tuple[int, int]) -> OmniSample:
    text = tuple(inputs(f"oc{j}", (n, 24)) for j, n in enumerate(lengths))
    images = (inputs("r0", (4, 8, 8)), inputs("x0", (4, 8, 12)))
    return OmniSample(images=images, text=text, siglip=(inputs("s0", (*grid, WIDTH)), None))


@pytest.fixture(scope="module")
def tiny() -> DiT:
    return fill(DiT(CONFIG))


@torch.no_grad()
def test_the_closed_form_reference_values_are_reproduced(tiny: DiT):
    check("omni_edit", tiny([edit((5, 9, 3), (4, 4))], QUARTER)[0])
    check("omni_edit_no_quirk", tiny([edit((32, 64, 32), (1, 1))], QUARTER)[0])
    check("omni_t2i", tiny([OmniSample(images=(inputs("x0", (4, 8, 12)),), text=(inputs("c0", (7, 24)),))], QUARTER)[0])


@torch.no_grad()
def test_without_the_quirks_the_intended_positions_and_features_are_used(tiny: DiT):
    plain = fill(DiT(replace(CONFIG, scrambled_siglip=False, shifted_text_positions=False)))
    velocity = plain([edit((5, 9, 3), (4, 4))], QUARTER)[0].double()
    assert float(velocity.sum()) == pytest.approx(-10.98469, abs=1e-2)
    assert [float(x) for x in velocity.flatten()[:3]] == pytest.approx([-4.504990, 3.067841, 4.523656], abs=1e-4)
    same = edit((32, 64, 32), (1, 1))
    assert torch.allclose(plain([same], QUARTER)[0], tiny([same], QUARTER)[0], atol=1e-6)


def random_sample(generator: torch.Generator, config: DiTConfig, *, siglip: bool) -> OmniSample:
    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    references = number(0, 3)
    images = [
        torch.randn(config.in_channels, 2 * number(1, 6), 2 * number(1, 6), generator=generator) for _ in range(references + 1)
    ]
    texts = [
        torch.randn(number(1, 40), config.cap_feat_dim, generator=generator) for _ in range(references + 2 if references else 1)
    ]
    grids = None
    if siglip:
        grids = (*(torch.randn(number(1, 5), number(1, 5), WIDTH, generator=generator) for _ in range(references)), None)
    kept = [
        None if j < references and config.in_channels == 16 and number(0, 4) == 0 else image for j, image in enumerate(images)
    ]
    return OmniSample(images=tuple(kept), text=tuple(texts), siglip=grids)


def released(config: DiTConfig):
    from diffusers import ZImageTransformer2DModel

    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()}
    return ZImageTransformer2DModel(**{name: value for name, value in fields.items() if name not in OWN})


def released_velocity(model, samples: list[OmniSample], times: torch.Tensor) -> list[torch.Tensor]:
    found = model(
        [[None if image is None else image.unsqueeze(1) for image in sample.images] for sample in samples],
        times,
        [list(sample.text) for sample in samples],
        siglip_feats=[None if sample.siglip is None else list(sample.siglip) for sample in samples],
        image_noise_mask=[[0] * (len(sample.images) - 1) + [1] for sample in samples],
        return_dict=False,
    )[0]
    return [velocity.squeeze(1) for velocity in found]


@pytest.mark.parametrize("seed", range(10))
def test_random_samples_and_their_gradients_agree_with_the_released_model(seed: int):
    generator = torch.Generator().manual_seed(seed)
    heads, siglip = 2 + seed % 3, seed % 2 == 0
    config = DiTConfig(
        in_channels=16 if seed % 3 == 0 else 4, dim=16 * heads, n_layers=1 + seed % 2, n_refiner_layers=1 + seed % 2,
        n_heads=heads, n_kv_heads=heads, cap_feat_dim=20, siglip_feat_dim=WIDTH, axes_dims=(4, 6, 6), axes_lens=(512, 64, 64),
        norm_eps=(1e-5, 1e-3, 1e-6)[seed % 3],
    )  # fmt: skip
    ours, theirs = fill(DiT(config)), released(config).eval()
    theirs.load_state_dict(ours.state_dict())
    samples = [random_sample(generator, config, siglip=siglip) for _ in range(1 + seed % 4)]
    times = torch.rand(len(samples), generator=generator)
    got, expected = ours(samples, times), released_velocity(theirs, samples, times)
    assert max(float((a - b).detach().abs().max()) for a, b in zip(got, expected, strict=True)) < 1e-4
    sum(x.square().mean() for x in got).backward()
    sum(x.square().mean() for x in expected).backward()
    wanted = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    for name, gradient in wanted.items():
        away = float((ours.get_parameter(name).grad - gradient).norm())
        assert away <= 1e-3 * float(gradient.norm()) + 1e-6, name


@torch.no_grad()
def test_the_batch_equals_its_samples_one_by_one_and_a_refined_condition_is_reused(tiny: DiT):
    generator = torch.Generator().manual_seed(5)
    samples = [random_sample(generator, CONFIG, siglip=True) for _ in range(4)]
    times = torch.rand(4, generator=generator)
    together = tiny(samples, times, refine(tiny, samples))
    for sample, time, velocity in zip(samples, times, together, strict=True):
        assert torch.allclose(tiny([sample], time[None])[0], velocity, atol=1e-4)


def test_samples_that_do_not_fit_are_refused_with_their_numbers(tiny: DiT):
    good = edit((5, 9, 3), (4, 4))
    with pytest.raises(ValueError, match="target"):
        tiny([replace(good, images=(good.images[0], None))], QUARTER)
    with pytest.raises(ValueError, match="2 images need"):
        tiny([replace(good, text=good.text[:1])], QUARTER)
    with pytest.raises(ValueError, match="mixes samples"):
        tiny([good, replace(good, siglip=None)], QUARTER)
    with pytest.raises(ValueError, match="4 channels"):
        tiny([replace(good, images=(good.images[0], torch.zeros(3, 8, 8)))], QUARTER)
