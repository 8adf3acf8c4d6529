"""A tokenizer with one token per byte, Qwen's special tokens and its turns, for pipelines where Qwen's own is not at hand."""

from typing import Any

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
)


def byte_tokenizer() -> Any:
    """Return the tokenizer, a transformers PreTrainedTokenizerFast; as many tokens as Qwen's take a quarter of the text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    bytewise.pre_tokenizer, bytewise.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bytewise.add_special_tokens(SPECIAL)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bytewise, pad_token=SPECIAL[0], eos_token=SPECIAL[2], padding_side="right", model_max_length=2048
    )
    made.chat_template = TEMPLATE
    return made
