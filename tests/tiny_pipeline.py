"""A whole Z-Image pipeline of toy size that diffusers makes and saves; weights are closed forms."""

from pathlib import Path

from closed_form import fill

from benchmarks.byte_tokenizer import byte_tokenizer
from model.config import DiTConfig, to_dict
from model.released import OWN_FIELDS

CONFIG = DiTConfig(dim=48, n_layers=2, n_refiner_layers=1, n_heads=3, n_kv_heads=3, in_channels=4, cap_feat_dim=24,
                   axes_dims=(4, 6, 6), axes_lens=(512, 64, 64))  # fmt: skip


def text_encoder(words: int):
    from transformers import Qwen3Config, Qwen3Model

    shape = Qwen3Config(
        vocab_size=words, hidden_size=24, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=12, max_position_embeddings=2048,
    )  # fmt: skip
    return fill(Qwen3Model(shape))


def vae():
    from diffusers import AutoencoderKL

    return fill(AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=4,
        block_out_channels=(8, 8, 16, 16), layers_per_block=1, latent_channels=4, scaling_factor=0.3611, shift_factor=0.1159,
        use_quant_conv=False, use_post_quant_conv=False,
    ))  # fmt: skip


def save_pipeline(folder: Path) -> Path:
    """Write the pipeline and return its folder."""
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

    fields = {name: value for name, value in to_dict(CONFIG).items() if name not in OWN_FIELDS}
    words = byte_tokenizer()
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0),
        vae=vae(),
        text_encoder=text_encoder(len(words)),
        tokenizer=words,
        transformer=fill(ZImageTransformer2DModel(**fields)),
    )
    pipeline.save_pretrained(folder)
    return folder
