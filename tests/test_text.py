import subprocess
import sys
from pathlib import Path

import pytest
import torch

from curation.errors import ConfigError, ModelError
from model.text import NULL_WORD, HashText, Qwen3, TextCache, text_encoder


def test_words_are_lower_case_with_punctuation_and_chinese_characters_apart():
    assert HashText().words("A red Circle, 3 px!") == ["a", "red", "circle", ",", "3", "px", "!"]
    assert HashText().words("红色的cat猫") == ["红", "色", "的", "cat", "猫"]
    assert HashText().words("ＡＢ") == ["ab"]
    assert HashText().words("  ") == [NULL_WORD]


def test_a_word_has_one_vector_everywhere_also_in_another_process():
    a, b = HashText(width=16).encode(["red circle", "a big red"])
    assert torch.equal(a[0], b[2])
    code = "from model.text import HashText; print(HashText(width=16).encode(['red'])[0][0].tolist())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert a[0].tolist() == eval(there)


def test_word_vectors_are_normal_and_independent():
    vectors = HashText(width=64).encode([" ".join(f"w{i}" for i in range(400))])[0]
    assert float(vectors.mean()) == pytest.approx(0, abs=0.02)
    assert float(vectors.std()) == pytest.approx(1, abs=0.02)
    cosine = torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(vectors).T
    assert float(cosine.triu(1).std()) < 0.15  # 1 / sqrt(64) = .125


def test_width_and_salt_are_part_of_the_id():
    assert len({HashText(width=8).id, HashText(width=16).id, HashText(width=8, salt="x").id}) == 3


def test_specs_are_parsed_and_unknown_ones_named(tmp_path: Path):
    assert text_encoder("hash:32").width == 32
    for wrong in ("hash", "bert", "qwen3:", "minilm:x"):
        with pytest.raises(ConfigError, match="qwen3:<folder>"):
            text_encoder(wrong)
    with pytest.raises(ModelError, match=r"no config\.json"):
        text_encoder(f"qwen3:{tmp_path}")


def test_minilm_gives_token_states_from_its_package():
    encoder = text_encoder("minilm")
    cat, kitten, empty = encoder.encode(["a cat", "a kitten sleeps", ""])
    assert cat.shape == (4, 384)  # [CLS] a cat [SEP]
    assert empty.shape == (2, 384)
    assert kitten.shape[1] == encoder.width


def test_a_cache_keeps_features_in_memory_and_on_disk(tmp_path: Path):
    encoder = HashText(width=8)
    first = TextCache(encoder, folder=tmp_path)
    a, b = first.encode(["a cat", "a cat"])
    assert a is b
    assert len(list(tmp_path.rglob("*.features"))) == 1
    second = TextCache(encoder, folder=tmp_path)
    assert torch.equal(second.encode(["a cat"])[0], a)
    TextCache(HashText(width=4), folder=tmp_path).encode(["a cat"])
    assert len(list(tmp_path.rglob("*.features"))) == 2


def test_a_full_cache_still_answers():
    cache = TextCache(HashText(width=8), max_bytes=8 * 4 * 2)
    for caption in ("one two", "three four five", "one two"):
        assert len(cache.encode([caption])[0]) == len(caption.split())
    assert cache.size_bytes == 64


@pytest.fixture(scope="module")
def qwen3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    folder = tmp_path_factory.mktemp("qwen3")
    letters = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    fast.chat_template = (
        "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    Qwen3Model(Qwen3Config(
        vocab_size=len(fast), hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=512,
    )).save_pretrained(folder)  # fmt: skip
    return folder


def test_qwen3_features_are_the_raw_output_of_the_layer_before_the_last(qwen3_folder: Path):
    encoder = Qwen3(qwen3_folder)
    assert encoder.prompt("a cat") == "<|im_start|>user\na cat<|im_end|>\n<|im_start|>assistant\n"
    features = encoder.encode(["a cat"])[0]
    tokens = encoder.tokenizer(encoder.prompt("a cat"), return_tensors="pt")
    from transformers import AutoModel

    whole = AutoModel.from_pretrained(qwen3_folder).eval()
    assert len(encoder.model.layers) == len(whole.layers) - 1, "the last layer is not kept in memory"
    with torch.no_grad():
        states = whole(**tokens, output_hidden_states=True).hidden_states[-2]
    assert torch.allclose(features, states[0], atol=1e-6)
    assert encoder.width == 16


def test_qwen3_features_do_not_depend_on_the_other_captions(qwen3_folder: Path):
    encoder = text_encoder(f"qwen3:{qwen3_folder}")
    together = encoder.encode(["a cat", "a much longer caption", ""])
    assert all(
        torch.equal(x, encoder.encode([c])[0]) for x, c in zip(together, ["a cat", "a much longer caption", ""], strict=True)
    )
    assert len(Qwen3(qwen3_folder, max_tokens=7).encode(["a much longer caption"])[0]) == 7
