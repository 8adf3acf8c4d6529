"""A vision-language model in this process: any folder that transformers' AutoModelForImageTextToText reads (Qwen-VL, ...).

A backend of captioning/answer.py. Questions are answered in batches with left padding. An answer does not depend on its batch:
greedy, or drawn by the Gumbel-max trick from a generator of the question's own seed. When memory runs out the batch is halved;
a question that fails alone becomes a reply with an error. Nothing is downloaded.

For throughput on GPUs serve the model with vLLM or SGLang and use the endpoint backend; this one needs nothing but transformers.
"""

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from captioning.answer import Ask, Reply, placeholders
from curation.errors import ModelError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class VisionLanguageModel:
    """Weights, processor and tokenizer of one model."""

    def __init__(
        self,
        folder: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 8,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
    ) -> None:
        """Load a model from `folder` as save_pretrained writes it.

        device: auto (a GPU if there is one), cpu, cuda, cuda:1. dtype: auto (as stored; float32 on a CPU), float32, bfloat16 or
            float16.
        min_pixels, max_pixels: the processor's own budget per picture; None leaves what the folder says.
        Raises ModelError when the folder is none, or cannot be loaded.
        """
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        path = Path(folder).expanduser()
        if not (path / "config.json").is_file():
            raise ModelError(
                f"caption.vlm.model {folder!r} has no config.json. imageloom downloads nothing: save the model and its processor "
                "there once (huggingface-cli download, save_pretrained), and give that folder instead of a hub name"
            )
        self.name = path.resolve().name
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        kind = getattr(torch, dtype) if dtype != "auto" else torch.float32 if self.device == "cpu" else "auto"
        try:
            self._processor: Any = AutoProcessor.from_pretrained(path, local_files_only=True)
            self._model: Any = AutoModelForImageTextToText.from_pretrained(path, dtype=kind, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
            raise ModelError(f"caption.vlm.model {folder}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        _set_budget(getattr(self._processor, "image_processor", None), min_pixels, max_pixels)
        self._model.eval().to(self.device)
        self._tokenizer: Any = getattr(self._processor, "tokenizer", self._processor)
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._batch_size = batch_size

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """Return one reply per ask, in the same order; an ask that cannot be answered has a reply with an error."""
        replies: dict[int, Reply] = {}
        ready: list[tuple[int, _Question]] = []
        for index, ask in enumerate(asks):
            question = _question(ask)
            if isinstance(question, Reply):
                replies[index] = question
            else:
                ready.append((index, question))
        # Questions of one length of answer go together, so that none waits for another kind.
        ready.sort(key=lambda pair: (pair[1].ask.max_tokens, pair[0]))
        for start in range(0, len(ready), self._batch_size):
            batch = ready[start : start + self._batch_size]
            answered = halving([question for _, question in batch], self._generate)
            replies |= dict(zip((index for index, _ in batch), answered, strict=True))
        return [replies[index] for index in range(len(asks))]

    def _generate(self, questions: Sequence["_Question"]) -> list[Reply]:
        import torch
        from transformers import LogitsProcessorList

        inputs = self._processor.apply_chat_template(
            [question.messages for question in questions],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self.device)
        asks = [question.ask for question in questions]
        limit = max(ask.max_tokens for ask in asks)
        with torch.inference_mode():
            made = self._model.generate(
                **inputs,
                max_new_tokens=limit,
                do_sample=False,
                num_beams=1,
                logits_processor=LogitsProcessorList([GumbelNoise(asks)]),
                pad_token_id=self._tokenizer.pad_token_id,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        new = made[:, inputs["input_ids"].shape[1] :].cpu()
        used = inputs["attention_mask"].sum(dim=1).tolist()
        return [self._reply(row.tolist(), int(count), ask) for row, count, ask in zip(new, used, asks, strict=True)]

    def _reply(self, tokens: list[int], input_tokens: int, ask: Ask) -> Reply:
        ends = self._model.generation_config.eos_token_id
        stops = set(ends if isinstance(ends, list) else [ends]) | {self._tokenizer.eos_token_id}
        end = next((place for place, token in enumerate(tokens) if token in stops), None)
        kept = tokens[: ask.max_tokens] if end is None or end >= ask.max_tokens else tokens[:end]
        finished = end is not None and end < ask.max_tokens
        text = self._tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(
            text=text,
            finish_reason="stop" if finished else "length",
            model=self.name,
            input_tokens=input_tokens,
            output_tokens=len(kept) + finished,
            requests=1,
        )


class GumbelNoise:
    """Turns greedy search into sampling at each question's temperature: argmax of logits / temperature + Gumbel noise.

    The noise of a question comes from a generator of its own seed, so neither its batch nor its place in it matter.
    Maddison, Tarlow & Minka 2014, A* sampling, https://arxiv.org/abs/1411.0030, section 2
    """

    def __init__(self, asks: Sequence[Ask]) -> None:
        import torch

        self._temperatures = [ask.temperature for ask in asks]
        self._generators = [torch.Generator().manual_seed(ask.seed) for ask in asks]

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Return the logits (B, vocabulary) of the next token, with noise where the temperature is not 0."""
        import torch

        out = scores
        for row, (temperature, generator) in enumerate(zip(self._temperatures, self._generators, strict=True)):
            if temperature > 0:
                out = out.clone() if out is scores else out
                noise = -torch.log(-torch.log(torch.rand(scores.shape[1], generator=generator).clamp_(1e-20, 1 - 1e-7)))
                out[row] = scores[row].float() / temperature + noise.to(scores.device)
        return out


@dataclass(frozen=True)
class _Question:
    """An ask with its pictures decoded and put into the messages, as processors want them."""

    ask: Ask
    messages: list[dict[str, Any]]


def halving(questions: Sequence[Any], generate: Callable[[Sequence[Any]], list[Reply]]) -> list[Reply]:
    """Return the replies of a batch; when memory runs out, or the batch fails, those of its halves, down to one question.

    A question that fails alone has a reply with the error out_of_memory or failed.
    """
    import torch

    try:
        return generate(questions)
    except torch.OutOfMemoryError as error:
        failure = Reply(error=("out_of_memory", _line(error)))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    except Exception as error:  # the per-record boundary: a processor may refuse one picture
        code = "out_of_memory" if "can't allocate memory" in str(error) else "failed"
        failure = Reply(error=(code, _line(error)))
    if len(questions) == 1:
        return [failure]
    middle = len(questions) // 2
    log.warning("a batch of %d questions failed (%s): trying %d at a time", len(questions), failure.error, middle)
    return halving(questions[:middle], generate) + halving(questions[middle:], generate)


def _set_budget(processor: Any, min_pixels: int | None, max_pixels: int | None) -> None:
    """Set the pixels of a picture in Qwen-VL's image processors, whose "edges" are areas; others keep their fixed size."""
    if not hasattr(processor, "merge_size"):
        return
    size = dict(processor.size)
    chosen = {"shortest_edge": min_pixels or size.get("shortest_edge"), "longest_edge": max_pixels or size.get("longest_edge")}
    processor.size = type(processor.size)(**chosen) if not isinstance(processor.size, dict) else chosen


def _question(ask: Ask) -> _Question | Reply:
    """Return the ask as chat messages with decoded pictures; a reply with an error when it cannot be asked."""
    if placeholders(ask.messages) != len(ask.images):
        return Reply(error=("bad_request", f"{len(ask.images)} pictures for {placeholders(ask.messages)} places"))
    try:
        pictures = iter([Image.open(io.BytesIO(encoded)).convert("RGB") for encoded in ask.images])
    except Exception as error:  # the per-record boundary: bytes from outside
        return Reply(error=("bad_image", _line(error)))
    return _Question(ask, [{"role": m["role"], "content": list(_parts(m["content"], pictures))} for m in ask.messages])


def _parts(content: Any, pictures: Iterator[Image.Image]) -> Iterator[dict[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
        return
    for part in content:
        yield {"type": "image", "image": next(pictures)} if part["type"] == "image" else dict(part)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
