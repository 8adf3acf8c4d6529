"""Tiny vision-language models with random weights in the files of real ones: Qwen2.5-VL and Qwen3-VL, 0.2 M parameters.

`build(folder, family)` writes configuration, weights, tokenizer, image processor and chat template, so that a test goes through
the code that a real checkpoint goes through; the words that come out are noise, with control characters and cut bytes in it.
"""

from pathlib import Path
from typing import Any, Literal

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
            "<|image_pad|>", "<|video_pad|>")  # fmt: skip
CORPUS = (
    "A landscape-format photograph of a red kite above a green hill.",
    'A poster in cream and dark blue with the words "Tea Tasting" at the top.',
    "一幅横版海报，上面写着“品茶会”，主色为奶油色和深蓝色。",
    '{"en": {"tags": "", "short": "", "medium": "", "long": "", "prompt": ""}, "zh": {}}',
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
Family = Literal["qwen2_5_vl", "qwen3_vl"]


def build(folder: Path, family: Family = "qwen2_5_vl", *, seed: int = 0) -> Path:
    """Write a random model of `family` to `folder`, which is made, and return it; 1 MB, a second once torch is loaded."""
    import torch

    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    model, processor = (_qwen2_5 if family == "qwen2_5_vl" else _qwen3)(tokenizer)
    model.generation_config.update(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.pad_token_id
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIALS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=list(SPECIALS)
    )


def _ids(tokenizer: Any) -> dict[str, int]:
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>",
             "vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}  # fmt: skip
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6} | more.pop("rope", {})
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": rope,
        **more,
    }


def _vision(**more: Any) -> dict[str, Any]:
    return {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
            "spatial_merge_size": 2, "temporal_patch_size": 2, **more}  # fmt: skip


def _qwen2_5(tokenizer: Any) -> tuple[Any, Any]:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLImageProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    config = Qwen2_5_VLConfig(
        text_config=_text(tokenizer),
        vision_config=_vision(patch_size=14, window_size=112, fullatt_block_indexes=[1]),
        **_ids(tokenizer),
    )
    images = Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=112 * 112)
    processor = Qwen2_5_VLProcessor(
        image_processor=images, tokenizer=tokenizer, video_processor=Qwen2VLVideoProcessor(), chat_template=TEMPLATE
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3(tokenizer: Any) -> tuple[Any, Any]:
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    config = Qwen3VLConfig(
        text_config=_text(tokenizer, head_dim=16, rope={"mrope_interleaved": True}),
        vision_config=_vision(patch_size=16, num_position_embeddings=256, deepstack_visual_indexes=[0]),
        **_ids(tokenizer),
    )
    images = Qwen2VLImageProcessor(patch_size=16, min_pixels=32 * 32, max_pixels=128 * 128)
    processor = Qwen3VLProcessor(
        image_processor=images, tokenizer=tokenizer, video_processor=Qwen3VLVideoProcessor(), chat_template=TEMPLATE
    )
    return Qwen3VLForConditionalGeneration(config), processor
