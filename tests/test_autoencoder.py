from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from curation.errors import ConfigError, ModelError
from model.autoencoder import FluxVAE, PCAAutoencoder, to_pixels, to_signed
from model.specs import parse_autoencoder


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    pictures = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    small = [np.array(Image.fromarray(p).resize((64, 64), Image.Resampling.LANCZOS)) for p in pictures]
    return to_signed(torch.from_numpy(np.stack(small)))


def test_pixels_survive_the_way_to_signed_floats_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 16, 16, 3)
    assert torch.equal(to_pixels(to_signed(pixels)), pixels)


def test_all_components_reconstruct_exactly(photographs: torch.Tensor):
    model = PCAAutoencoder.fit([photographs], downsample=2, channels=12)
    assert torch.allclose(model.decode(model.encode(photographs)), photographs, atol=1e-4)


def test_latents_have_mean_0_and_mean_channel_variance_1_and_lead_with_the_largest(photographs: torch.Tensor):
    model = PCAAutoencoder.fit([photographs], downsample=4, channels=12)
    latents = model.encode(photographs)
    assert latents.shape == (4, 12, 16, 16)
    variance = latents.movedim(1, 0).flatten(1).var(dim=1, correction=0)
    assert float(variance.mean()) == pytest.approx(1, abs=1e-3)
    assert bool((variance.diff() <= 1e-6).all())
    assert float(latents.mean().abs()) < 1e-4


def test_the_components_are_those_of_a_singular_value_decomposition(photographs: torch.Tensor):
    model = PCAAutoencoder.fit([photographs], downsample=4, channels=6)
    blocks = torch.nn.functional.pixel_unshuffle(photographs.double(), 4).permute(0, 2, 3, 1).reshape(-1, 48)
    _, _, right = torch.linalg.svd(blocks - blocks.mean(0), full_matrices=False)
    products = (model.components.double() * right[:6]).sum(1).abs()
    assert torch.allclose(products, torch.ones(6, dtype=torch.float64), atol=1e-5)


def test_the_fit_does_not_depend_on_how_images_are_batched(photographs: torch.Tensor):
    whole = PCAAutoencoder.fit([photographs], channels=8)
    single = PCAAutoencoder.fit(photographs.split(1), channels=8)
    assert torch.allclose(whole.components, single.components, atol=1e-6)
    assert bool((whole.components.gather(1, whole.components.abs().argmax(1, keepdim=True)) > 0).all())


def test_save_and_load_give_the_same_latents(photographs: torch.Tensor, tmp_path: Path):
    model = PCAAutoencoder.fit([photographs], channels=8)
    model.save(tmp_path / "a.safetensors")
    again = PCAAutoencoder.load(tmp_path / "a.safetensors")
    assert torch.equal(again.encode(photographs), model.encode(photographs))
    assert (again.downsample, again.channels) == (4, 8)


def test_wrong_requests_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="1 to 48 channels, not 49"):
        PCAAutoencoder.fit([torch.zeros(1, 3, 8, 8)], channels=49)
    with pytest.raises(ModelError, match="no image"):
        PCAAutoencoder.fit([], channels=4)
    with pytest.raises(ModelError, match="does not exist"):
        PCAAutoencoder.load(tmp_path / "none.safetensors")
    with pytest.raises(ConfigError, match="pca:<downsample>"):
        parse_autoencoder("vae")
    with pytest.raises(ModelError, match=r"no config\.json"):
        FluxVAE(tmp_path)


def test_the_flux_vae_scales_its_latents_as_the_released_pipeline_does(tmp_path: Path):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4, scaling_factor=0.3611,
        shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False,
    ).eval()  # fmt: skip
    vae.save_pretrained(tmp_path / "vae")
    ours = FluxVAE(tmp_path / "vae")
    images = torch.rand(1, 3, 32, 48) * 2 - 1
    latents = ours.encode(images)
    assert (ours.downsample, ours.channels, tuple(latents.shape)) == (8, 4, (1, 4, 4, 6))
    with torch.no_grad():
        assert torch.allclose(latents, (vae.encode(images).latent_dist.mode() - 0.1159) * 0.3611, atol=1e-6)
        assert torch.allclose(ours.decode(latents), vae.decode(latents / 0.3611 + 0.1159).sample.clamp(-1, 1), atol=1e-5)


def test_a_large_image_is_decoded_in_tiles_that_bound_memory_and_change_little(tmp_path: Path):
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(8, 8),
        layers_per_block=1, latent_channels=4, norm_num_groups=2, use_quant_conv=False, use_post_quant_conv=False,
        mid_block_add_attention=False,
    ).save_pretrained(tmp_path / "vae")  # fmt: skip
    images = torch.rand(2, 3, 192, 320) * 2 - 1  # of one texture: every tile has the statistics of the whole
    made, largest = [], []
    for tile_px in (1024, 64):
        vae, sizes = FluxVAE(tmp_path / "vae", tile_px=tile_px), []
        for layer in vae.model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(lambda _, __, out, sizes=sizes: sizes.append(out.numel()))
        latents = vae.encode(images)
        made.append((latents, vae.decode(latents)))
        largest.append(max(sizes))
    assert largest[1] == 8 * 64 * 64 < largest[0] == 8 * 192 * 320  # of one image, never of the batch
    for whole, tiled in zip(*made, strict=True):
        assert tiled.shape == whole.shape
        assert 0 < float((tiled - whole).norm() / whole.norm()) < 0.4  # random weights; another image is at 1.4
