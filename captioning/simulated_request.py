"""The enhancer run backwards: from a caption to what a person might have typed for the picture."""

import re
from collections.abc import Sequence

from captioning.answer import Ask, Backend
from captioning.clauses import shortened, word_count
from captioning.enhancer import one_line
from captioning.language_share import wrong_language
from captioning.phrases import META, REFUSAL
from captioning.prompt_rules import RULES, Enhanced, spoken_language
from captioning.prompting import Prompts
from captioning.quotations import quotations, unquoted


def simulate(
    captions: Sequence[str],
    *,
    backend: Backend | None = None,
    prompts: Prompts | None = None,
    words: tuple[int, int] = (3, 20),
    max_tokens: int = 100,
    temperature: float = 0.7,
    seed: int = 0,
) -> list[Enhanced]:
    """Return what a user might have typed for each caption: the enhancer run backwards, the level `prompt` of CAPTIONS.

    Texts that it quotes must be quotations of the caption; without a model, or where one fails, it is the caption's first
    phrase and its first quotation.
    """
    if backend is None:
        return [_typed(caption, words[1]) for caption in captions]
    prompts = prompts or Prompts()
    asks = []
    for index, caption in enumerate(captions):
        text = prompts.render(f"simulate_{spoken_language(caption)}.j2", caption=caption, words=list(words))
        asks.append(Ask(f"simulate-{index}", [{"role": "user", "content": text}], (), max_tokens, temperature, seed + index))
    found = []
    for caption, reply in zip(captions, backend.answer(asks), strict=True):
        text = one_line(reply.text or "")
        wrong = _untyped(caption, text, words) if reply.text and reply.finish_reason != "length" else ["no whole answer"]
        typed = _typed(caption, words[1])
        found.append(Enhanced(typed.prompt, RULES, (*wrong[:3],)) if wrong else Enhanced(text, reply.model or "model"))
    return found


def _typed(caption: str, max_words: int) -> Enhanced:
    """Return the first phrase of a caption as someone would type it, with its first short quotation."""
    spoken = spoken_language(caption)
    bare = re.sub(
        r"^(?:this is|it is|there is|the (?:image|picture|photo) shows)?\s*(?:an?|the)?\s+", "", caption.strip(), flags=re.I
    )
    bare = re.sub(r"^(?:这是|画面中有|图中有)?(?:一[张幅只个位])?", "", bare) if spoken == "zh" else bare
    short = shortened(bare, min(8, max_words))
    texts = [quotation.words for quotation in quotations(caption) if word_count(quotation.words) <= 6]
    if texts and texts[0] not in short:
        short += f"，写着“{texts[0]}”" if spoken == "zh" else f' that says "{texts[0]}"'
    return Enhanced(short or caption.strip()[:80], RULES, ("the caption's first phrase",))


def _untyped(caption: str, text: str, words: tuple[int, int]) -> list[str]:
    known = {quotation.words for quotation in quotations(caption)}
    wrong = [f"quotes {one.words!r}, which the caption does not" for one in quotations(text, known) if one.words not in known]
    outside = unquoted(text, known)
    wrong += [f"talks about itself: {said.group()[:40]!r}" for said in (REFUSAL.search(outside), META.search(outside)) if said]
    if not text or not words[0] / 3 <= word_count(text) <= 2 * words[1] or "\ufffd" in text:
        wrong.append("is no short request")
    return wrong + ([reason] if (reason := wrong_language(outside, spoken_language(caption))) else [])
