import json
from pathlib import Path

import pytest
import torch
from closed_form import fill, inputs

from curation.errors import ConfigError
from model.config import TINY, Z_IMAGE, DiTConfig, from_dict
from model.dit import DiT, patchify, unpatchify

REFERENCE = json.loads((Path(__file__).parent / "data" / "zimage_tiny.json").read_text())
CASES = REFERENCE["cases"]
CONFIG = from_dict(DiTConfig, REFERENCE["config"])
OWN = ("pad_to", "scrambled_siglip", "shifted_text_positions")
"""Fields that the released configuration does not have."""


def diffusers_model(config: DiTConfig):
    from diffusers import ZImageTransformer2DModel

    fields = dict(vars(config)) if hasattr(config, "__dict__") else {}
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items() if name not in OWN}
    return ZImageTransformer2DModel(**fields).eval()


def check(case: str, tensor: torch.Tensor) -> None:
    expected, flat = CASES[case], tensor.detach().double().flatten()
    assert flat.numel() == expected["n"]
    assert float(flat.sum()) == pytest.approx(expected["sum"], abs=1e-2)
    assert float(flat.abs().sum()) == pytest.approx(expected["abs"], abs=1e-2)
    assert [float(x) for x in flat[:4]] == pytest.approx(expected["first"], abs=1e-4)
    assert float(flat[-1]) == pytest.approx(expected["last"], abs=1e-4)


@pytest.fixture(scope="module")
def tiny() -> DiT:
    return fill(DiT(CONFIG))


def test_the_6b_configuration_has_the_released_parameters_and_keys():
    with torch.device("meta"):
        model = DiT(Z_IMAGE)
    assert sum(p.numel() for p in model.parameters()) == 6_154_908_736
    assert len(model.state_dict()) == 521
    assert model.state_dict()["layers.29.adaLN_modulation.0.weight"].shape == (4 * 3840, 256)


def test_the_omni_configuration_has_the_released_parameters_and_keys():
    with torch.device("meta"):
        model = DiT(DiTConfig(siglip_feat_dim=1152))
    assert sum(p.numel() for p in model.parameters()) == 6_513_266_880
    assert len(model.state_dict()) == 551


@torch.no_grad()
def test_the_closed_form_reference_values_are_reproduced(tiny: DiT):
    x = [inputs("x0", (4, 8, 12)), inputs("x1", (4, 16, 8))]
    text = [inputs("c0", (7, 24)), inputs("c1", (40, 24))]
    for i in range(2):
        check(f"single_{i}", tiny([x[i]], torch.tensor([0.25]), [text[i]])[0])
    for i, velocity in enumerate(tiny(x, torch.tensor([0.25, 0.9]), text)):
        check(f"ragged_{i}", velocity)
    check("t_embedder", tiny.t_embedder(torch.tensor([250.0])))


def random_case(seed: int) -> tuple[DiTConfig, list[torch.Tensor], torch.Tensor, list[torch.Tensor]]:
    draw = torch.Generator().manual_seed(seed)

    def pick(*values: int) -> int:
        return values[int(torch.randint(len(values), (1,), generator=draw))]

    heads, axes = pick(1, 2, 4), ((4, 6, 6), (8, 4, 4), (8, 12, 12))[pick(0, 1, 2)]
    config = DiTConfig(
        dim=heads * sum(axes), n_heads=heads, n_kv_heads=heads, n_layers=pick(1, 2, 3), n_refiner_layers=pick(1, 2),
        in_channels=pick(4, 16), cap_feat_dim=pick(8, 24), axes_dims=axes, axes_lens=(512, 64, 64), qk_norm=bool(pick(0, 1, 1)),
        norm_eps=(1e-5, 1e-3, 1e-6)[seed % 3], rope_theta=(256.0, 32.0)[seed % 2], t_scale=(1000.0, 37.5, 1.0)[seed // 3 % 3],
    )  # fmt: skip
    batch = pick(1, 2, 3, 5)
    same = pick(0, 0, 1)
    sizes = [(2 * pick(1, 3, 4, 5, 8), 2 * pick(2, 3, 4, 6)) for _ in range(batch)]
    lengths = [pick(1, 5, 31, 32, 33, 70) for _ in range(batch)]
    if same:
        sizes, lengths = sizes[:1] * batch, lengths[:1] * batch
    latents = [torch.randn(config.in_channels, *size, generator=draw) for size in sizes]
    text = [torch.randn(n, config.cap_feat_dim, generator=draw) for n in lengths]
    return config, latents, torch.rand(batch, generator=draw), text


@torch.no_grad()
def spread(model: torch.nn.Module) -> torch.nn.Module:
    """Fill a model with random weights, its pad tokens and gains too, and return it."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
        parameter.copy_(noise * 0.1 + (parameter.ndim == 1))
    return model


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_diffusers_on_random_ragged_batches(seed: int):
    config, latents, t, text = random_case(seed)
    theirs = spread(diffusers_model(config))
    ours = DiT(config)
    ours.load_state_dict(theirs.state_dict())
    a = ours(latents, t, text)
    b = theirs([x[:, None] for x in latents], t, text, return_dict=False)[0]
    for mine, other in zip(a, b, strict=True):
        assert mine.shape == other[:, 0].shape
        assert float((mine - other[:, 0]).detach().abs().max()) <= 1e-4
    sum(x.square().sum() for x in a).backward()
    sum(x.square().sum() for x in b).backward()
    for (name, mine), (_, other) in zip(ours.named_parameters(), sorted_like(ours, theirs), strict=True):
        if other.grad is not None and float(other.grad.abs().max()) > 0:
            scale = float(other.grad.abs().max()) + 1e-3
            assert float((mine.grad - other.grad).abs().max()) <= 1e-3 * scale, name


def sorted_like(ours: DiT, theirs: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    parameters = dict(theirs.named_parameters())
    return [(name, parameters[name]) for name, _ in ours.named_parameters()]


@pytest.mark.parametrize("pad_to", [1, 8, 32])
@torch.no_grad()
def test_a_sample_alone_equals_the_same_sample_in_a_mixed_batch(pad_to: int):
    config = DiTConfig(**{**vars(CONFIG), "pad_to": pad_to})
    model = fill(DiT(config))
    x = [inputs(f"x{i}", (4, 2 * (1 + i), 8)) for i in range(4)]
    text = [inputs(f"c{i}", (n, 24)) for i, n in enumerate((9, 40, 3, 8))]
    t = torch.tensor([0.1, 0.5, 0.7, 0.9])
    for i, velocity in enumerate(model(x, t, text)):
        alone = model([x[i]], t[i : i + 1], [text[i]])[0]
        assert float((velocity - alone).abs().max()) <= 2e-5  # float32 sums in another order


@torch.no_grad()
def test_refined_text_gives_the_same_velocity(tiny: DiT):
    x, text = [inputs("x", (4, 8, 8))] * 2, [inputs("a", (5, 24)), inputs("b", (50, 24))]
    t = torch.tensor([0.3])
    refined = tiny.refine_text(text)
    for a, b in zip(tiny(x, t, text), tiny(x, t, refined), strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_one_time_serves_the_whole_batch(tiny: DiT):
    x, text = [inputs("x", (4, 8, 8)), inputs("y", (4, 4, 8))], [inputs("a", (5, 24)), inputs("b", (50, 24))]
    for a, b in zip(tiny(x, torch.tensor([0.3]), text), tiny(x, torch.tensor([0.3, 0.3]), text), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("rows", [(8, 8, 8), (8, 16, 4)])
@pytest.mark.parametrize("times", [(0.3,), (0.1, 0.5, 0.9)])
@torch.no_grad()
def test_copies_with_other_texts_equal_a_batch_that_repeats_the_images(
    tiny: DiT, rows: tuple[int, ...], times: tuple[float, ...]
):
    x = [inputs(f"x{i}", (4, height, 16)) for i, height in enumerate(rows)]  # (8, 16, 4): the last has padding
    text = [inputs(f"c{i}", (n, 24)) for i, n in enumerate((9, 40, 3, 70, 1, 40))]
    t = torch.tensor(times)
    wanted = tiny(x * 2, t.repeat(2) if len(t) > 1 else t, text)
    for a, b in zip(tiny(x, t, text, copies=2), wanted, strict=True):
        assert float((a - b).abs().max()) <= 2e-5  # rotations by another common angle round otherwise
    with pytest.raises(ValueError, match="latents, but 5 texts"):
        tiny(x, t, text[:5], copies=2)


def test_unpatchify_undoes_patchify():
    for shapes in ([(3, 4, 6)] * 2, [(3, 4, 6), (3, 2, 8)]):
        latents = [torch.randn(shape) for shape in shapes]
        for a, b in zip(latents, unpatchify(patchify(latents, 2), shapes, 2), strict=True):
            assert torch.equal(a, b)


def test_a_fresh_model_predicts_zero_and_every_weight_that_should_learns():
    model = DiT(TINY).initialize(seed=0)
    x, text = torch.randn(2, 12, 8, 8), [torch.randn(5, 64), torch.randn(9, 64)]
    velocity = torch.stack(model(x, torch.tensor([0.2, 0.8]), text))
    assert float(velocity.detach().abs().max()) == 0.0
    (velocity - 1).square().mean().backward()
    assert float(model.all_final_layer["2-1"].linear.weight.grad.abs().max()) > 0


def test_initialisation_depends_on_the_seed_only():
    a, b, c = (DiT(TINY).initialize(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["layers.0.attention.to_q.weight"], c["layers.0.attention.to_q.weight"])


def test_shapes_that_do_not_fit_are_named(tiny: DiT):
    with pytest.raises(ValueError, match=r"\(4, 7, 8\).*multiples of 2"):
        tiny([torch.zeros(4, 7, 8)], torch.tensor([0.5]), [torch.zeros(3, 24)])
    with pytest.raises(ValueError, match="1 latents, but 2 texts"):
        tiny([torch.zeros(4, 8, 8)], torch.tensor([0.5]), [torch.zeros(3, 24)] * 2)
    with pytest.raises(ConfigError, match="add up to 16"):
        DiTConfig(dim=40, n_heads=2, axes_dims=(4, 6, 6))


@torch.no_grad()
def test_a_block_is_one_graph_for_the_compiler(tiny: DiT):
    layout = tiny.layout([(4, 8, 8), (4, 16, 8)], (9, 40))
    packing, block = layout.joint, tiny.layers[0]
    x, cond = inputs("x", (len(packing.rows_T), CONFIG.dim)), inputs("c", (2, CONFIG.cond_dim))
    graphs = torch.compile(block, backend="eager", fullgraph=True)  # a break in the graph is an error; code is not generated
    assert torch.allclose(graphs(x, packing, cond), block(x, packing, cond), atol=1e-5)
    torch.compiler.reset()
