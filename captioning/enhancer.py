"""The prompt enhancer: a user's request becomes a full prompt (captioning/simulated_request.py goes the other way).

With a model the prompts enhance_en.j2 and enhance_zh.j2 lock what is fixed, reason where the request needs an idea, compose, and
quote text exactly; what comes back is checked against the request (captioning/invariants.py), asked for once more with the
faults named, and given up for the rules of captioning/prompt_rules.py, which are all there is without a model.

After the prompt enhancer that Z-Image (arXiv 2511.22699, sections 3.2 and 4.7) trains with; the wording is ours.
"""

import re
from collections.abc import Sequence

from captioning.answer import Ask, Backend, Message
from captioning.clauses import word_count
from captioning.invariants import fixed, lost
from captioning.language_share import wrong_language
from captioning.loops import loop
from captioning.phrases import META, PREFIX, REFUSAL, SPECIAL_TOKENS
from captioning.prompt_rules import MAX_REQUEST_CHARACTERS, RULES, Enhanced, by_rules, spoken_language
from captioning.prompting import Prompts
from captioning.quotations import quotations, unquoted

PRAISE = re.compile(
    r"\b(?:[48]k|masterpiece|best quality|award[- ]winning|ultra[- ]?hd|trending on)\b|杰作|最高画质|大师级", re.IGNORECASE
)


def enhance(
    requests: Sequence[str],
    *,
    backend: Backend | None = None,
    name: str = RULES,
    prompts: Prompts | None = None,
    max_words: int = 200,
    max_tokens: int = 700,
    temperature: float = 0.0,
    seed: int = 0,
    tries: int = 2,
) -> list[Enhanced]:
    """Return one prompt per request, in its language (English or Chinese), never without one.

    backend: who writes; None: the rules. name: what is recorded of it. tries: times a model is asked; each names the faults of
    the one before. What a model cannot do within its tries the rules do, and the notes say why.
    """
    if backend is None:
        return [by_rules(request) for request in requests]
    prompts = prompts or Prompts()
    done: dict[int, Enhanced] = {}
    wrong: dict[int, list[str]] = {index: [] for index in range(len(requests))}
    for attempt in range(tries):
        open_ = [index for index in wrong if index not in done]
        warmth = temperature if attempt == 0 else max(0.7, temperature)
        asks = [
            Ask(f"enhance-{i}", _messages(requests[i], prompts, wrong[i], max_words), (), max_tokens, warmth, seed + attempt)
            for i in open_
        ]
        for index, reply in zip(open_, backend.answer(asks) if asks else [], strict=True):
            if reply.text is None:
                wrong[index] = [": ".join(reply.error or ("error", "no answer"))]
                continue
            text = one_line(reply.text)
            wrong[index] = ["the answer was cut"] if reply.finish_reason == "length" else prompt_faults(requests[index], text)
            if not wrong[index]:
                done[index] = Enhanced(text, name, (f"written by {reply.model or name}",))
    for index, request in enumerate(requests):
        if index not in done:
            ruled = by_rules(request)
            done[index] = Enhanced(ruled.prompt, ruled.by, (f"{name} was refused: {'; '.join(wrong[index][:3])}", *ruled.notes))
    return [done[index] for index in range(len(requests))]


def prompt_faults(request: str, prompt: str, *, max_words: int = 400) -> list[str]:
    """Return what is wrong with an enhanced prompt, one line each: what it lost of the request, and what no prompt should be."""
    asked = fixed(request)
    if not prompt:
        return ["the answer is empty"]
    outside = unquoted(prompt, asked.texts)
    wrong = lost(asked, prompt)
    wrong += [f"talks about itself: {said.group()[:40]!r}" for said in (REFUSAL.search(outside), META.search(outside)) if said]
    wrong += [f"holds {found.group()!r}" for found in (PRAISE.search(outside), SPECIAL_TOKENS.search(outside)) if found]
    if "\ufffd" in prompt or any(ord(sign) < 32 for sign in prompt):
        wrong.append("holds damaged characters")
    if repeated := loop(outside):
        wrong.append(f"repeats itself: {repeated}")
    if reason := wrong_language(outside, spoken_language(request)):
        wrong.append(reason)
    if word_count(prompt) > max_words:
        wrong.append(f"is longer than {max_words} words")
    if word_count(prompt) < word_count(request) * 0.7:
        wrong.append("is shorter than the request")
    return wrong


def _messages(request: str, prompts: Prompts, told: Sequence[str], max_words: int) -> list[Message]:
    values = {
        "request": request[:MAX_REQUEST_CHARACTERS],
        "fixed": fixed(request).all,
        "faults": list(told),
        "max_words": max_words,
    }
    return [{"role": "user", "content": prompts.render(f"enhance_{spoken_language(request)}.j2", **values)}]


def one_line(text: str) -> str:
    """Return an answer in one line without a preface, Markdown's emphasis, or marks around the whole."""
    flat = " ".join(re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL).replace("**", "").split())
    flat = PREFIX.sub("", flat, count=1)
    whole = quotations(flat)
    return flat[1:-1].strip() if len(whole) == 1 and whole[0].start == 1 and whole[0].end == len(flat) - 1 else flat
