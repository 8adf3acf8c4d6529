"""A vision-language model in process: real code paths of transformers on tiny random models."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_vlm import build

from captioning.answer import Ask, Reply
from captioning.vlm import GumbelNoise, VisionLanguageModel, halving
from curation.errors import ModelError


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VisionLanguageModel:
    folder = build(tmp_path_factory.mktemp("vlm") / request.param, request.param)
    return VisionLanguageModel(str(folder), device="cpu", batch_size=3)


def picture(size: tuple[int, int] = (120, 80), colour: str = "red", kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format=kind)
    return buffer.getvalue()


def ask(number: int = 0, *, words: str = "Describe.", size: tuple[int, int] = (120, 80), **more: Any) -> Ask:
    content = [{"type": "image"}, {"type": "text", "text": words * (1 + number)}]
    messages = [{"role": "system", "content": "You caption."}, {"role": "user", "content": content}]
    return Ask(f"ask-{number}", messages, (picture(size),), **({"max_tokens": 12} | more))


def test_every_ask_has_its_reply_in_order(model: VisionLanguageModel) -> None:
    asks = [ask(number, size=(60 + 30 * number, 90), max_tokens=6 + number % 3) for number in range(5)]
    replies = model.answer(asks)
    assert [reply.error for reply in replies] == [None] * 5
    for one, reply in zip(asks, replies, strict=True):
        assert reply.model and reply.requests == 1 and reply.input_tokens > 0
        assert 0 < reply.output_tokens <= one.max_tokens
        assert (
            reply.finish_reason == ("length" if reply.output_tokens == one.max_tokens else "stop")
            or reply.finish_reason == "stop"
        )


def test_an_answer_does_not_depend_on_its_batch(model: VisionLanguageModel) -> None:
    asks = [ask(number, size=(60 + 40 * number, 90), temperature=1.0 if number % 2 else 0.0, seed=number) for number in range(5)]
    together = [reply.text for reply in model.answer(asks)]
    assert together == [model.answer([one])[0].text for one in asks]
    assert together[::-1] == [reply.text for reply in model.answer(asks[::-1])]


def test_a_seed_repeats_itself_and_another_differs(model: VisionLanguageModel) -> None:
    first, again, other, greedy = model.answer([ask(temperature=1.0, seed=s) for s in (1, 1, 2)] + [ask(seed=7)])
    assert first.text == again.text != other.text
    assert greedy.text == model.answer([ask(seed=8)])[0].text


def test_what_one_ask_gets_wrong_is_its_own_error(model: VisionLanguageModel) -> None:
    torn = Ask("torn", ask().messages, (picture()[:200],), max_tokens=4)
    text = Ask("text", ask().messages, (b"no picture",), max_tokens=4)
    none = Ask("none", ask().messages, (), max_tokens=4)
    good, *bad = model.answer([ask(max_tokens=4), torn, text, none])
    assert good.error is None and good.text is not None
    assert [reply.error and reply.error[0] for reply in bad] == ["bad_image", "bad_image", "bad_request"]


def test_hostile_pictures_end_as_replies(model: VisionLanguageModel) -> None:
    asks = [ask(size=size, max_tokens=2) for size in ((1, 1), (250, 1), (1, 250), (3000, 8), (40, 40))]
    replies = model.answer(asks)
    assert len(replies) == 5 and replies[-1].error is None
    assert all(reply.error is None or reply.error[0] == "failed" for reply in replies)


def test_the_budget_of_pixels_bounds_what_a_picture_costs(tmp_path: Path) -> None:
    folder = str(build(tmp_path / "tiny"))
    used = []
    for most in (28 * 28 * 4, 28 * 28 * 40):
        model = VisionLanguageModel(folder, device="cpu", min_pixels=784, max_pixels=most)
        used.append(model.answer([ask(size=(400, 400), max_tokens=1)])[0].input_tokens)
    assert used[1] - used[0] == 36 - 4


def test_no_asks_no_replies(model: VisionLanguageModel) -> None:
    assert model.answer([]) == []


def test_a_hub_name_is_refused_with_what_to_do() -> None:
    with pytest.raises(ModelError, match="imageloom downloads nothing"):
        VisionLanguageModel("Qwen/Qwen3-VL-4B-Instruct")


def test_a_folder_of_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        VisionLanguageModel(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_gumbel_noise_draws_from_the_softmax() -> None:
    """4,000 draws from three tokens at two temperatures: shares within 4 standard deviations of the softmax."""
    import torch

    logits = torch.log(torch.tensor([0.6, 0.3, 0.1]))
    number = 4_000
    for temperature in (1.0, 0.5):
        noise = GumbelNoise([Ask("", (), temperature=temperature, seed=5)])
        drawn = torch.stack([noise(torch.zeros(1, 1), logits[None]).argmax() for _ in range(number)])
        shares = torch.bincount(drawn, minlength=3) / number
        wanted = torch.softmax(logits / temperature, 0)
        assert (shares - wanted).abs().max() < 4 * 0.5 / number**0.5


def test_memory_that_runs_out_halves_the_batch() -> None:
    import torch

    sizes: list[int] = []

    def generate(questions: Sequence[int]) -> list[Reply]:
        sizes.append(len(questions))
        if len(questions) > 2 or 13 in questions:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")
        return [Reply(text=str(question)) for question in questions]

    replies = halving([1, 2, 13, 4, 5, 6, 7, 8], generate)
    assert [reply.text for reply in replies] == ["1", "2", None, "4", "5", "6", "7", "8"]
    assert replies[2].error and replies[2].error[0] == "out_of_memory"
    assert sizes == [8, 4, 2, 2, 1, 1, 4, 2, 2]
