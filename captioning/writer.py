"""Captions by a model: ask, read, validate, mend, ask again, and fall back to facts; every image ends with its captions.

Rounds, each over all images that still lack a caption: the question; for answers that could be read but hold faults, one
question more that names them; then the question anew with another seed. What is good is kept at once, so only faulty captions
are asked for again. What fails in every round is written from facts (captioning/facts.py), with the reason in its flags. Code
that can decide alone goes first: captioning/repair.py mends what needs no judgement before anything is asked again.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from captioning.answer import Ask, Backend, Reply
from captioning.facts import Caption, compose
from captioning.grounding import grounds
from captioning.prompting import CAPTION_TEMPLATES, Prompts, caption_ask, repair_ask
from captioning.repair import repaired
from captioning.structured import read_answer
from captioning.validate import WORDS, Evidence, Fault, disagreements, faults, named_faults

log = logging.getLogger(__name__)
Key = tuple[str, str]  # language, level
RETRY_TEMPERATURE = 0.7
"""Least temperature of another try: a greedy answer would only be repeated."""
HOPELESS = ("cut", "no_json", "empty", "too_long", "no_captions")
"""Faults of a whole answer that showing it to its model would not mend."""
MAX_REASON_CHARACTERS = 160


@dataclass(frozen=True)
class Asking:
    """How captions are asked for and judged; together with the templates this is what `prompt` in CAPTIONS is the hash of."""

    languages: Sequence[str] = ("en", "zh")
    levels: Sequence[str] = ("tags", "short", "medium", "long", "prompt")
    words: Mapping[str, tuple[int, int]] = field(default_factory=lambda: WORDS)
    min_text_recall: float = 0.9
    max_tokens: int = 2048
    temperature: float = 0.0
    seed: int = 0
    structured: bool = True
    repairs: int = 1
    retries: int = 1


@dataclass(frozen=True)
class Case:
    """An image to be captioned: its evidence, and its encoded picture or why there is none."""

    key: str
    evidence: Evidence
    picture: bytes | None
    problem: str = ""


@dataclass
class Written:
    """What became of one case: captions by (language, level), the reasons of those that failed, and what it took."""

    captions: dict[Key, Caption] = field(default_factory=dict)
    reasons: dict[Key, str] = field(default_factory=dict)
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    answers: list[str] = field(default_factory=list)  # as they came, one per round
    last: tuple[str, list[str], bool] | None = None  # the last answer, its faults as lines, whether to show it to the model

    @property
    def fallbacks(self) -> int:
        """Return how many captions were written from facts."""
        return sum(caption["backend"] == "facts" for caption in self.captions.values())


class Writer:
    """Writes captions through one backend with one set of prompts."""

    def __init__(self, backend: Backend, *, name: str, prompts: Prompts, asking: Asking) -> None:
        self._backend, self._name, self._prompts, self._asking = backend, name, prompts, asking
        self._wanted: list[Key] = [(language, level) for language in asking.languages for level in asking.levels]
        parameters = {key: value for key, value in vars(asking).items() if key not in ("repairs", "retries")}
        self.prompt = prompts.digest(CAPTION_TEMPLATES, parameters)

    def ask(self, case: Case, *, seed: int | None = None, temperature: float | None = None) -> Ask:
        """Return the question for one case."""
        asking = self._asking
        return caption_ask(
            case.key,
            case.picture or b"",
            case.evidence,
            self._prompts,
            languages=asking.languages,
            levels=asking.levels,
            words=asking.words,
            max_tokens=asking.max_tokens,
            temperature=asking.temperature if temperature is None else temperature,
            seed=asking.seed if seed is None else seed,
            structured=asking.structured,
        )

    def question(self, key: str, evidence: Evidence) -> Ask:
        """Return the question for an image without its picture, to be looked at."""
        return self.ask(Case(key, evidence, b""))

    def write(self, cases: Sequence[Case]) -> list[Written]:
        """Return the captions of every case, all languages and levels, in the order of the cases."""
        found = [Written() for _ in cases]
        asked = [case.picture is not None for case in cases]
        first = {index: self.ask(case) for index, case in enumerate(cases) if asked[index]}
        self._round(first, cases, found, flag=None)
        for _ in range(self._asking.repairs):
            again = {}
            for index, ask in first.items():
                last = found[index].last
                if self._lacks(found[index]) and last is not None and last[2]:
                    again[index] = repair_ask(ask, last[0], last[1], cases[index].evidence, self._prompts)
            self._round(again, cases, found, flag="repaired:asked_again")
        for retry in range(1, self._asking.retries + 1):
            warm = max(self._asking.temperature, RETRY_TEMPERATURE)
            anew = {
                index: replace(
                    self.ask(cases[index], seed=self._asking.seed + retry, temperature=warm), key=f"{ask.key}/retry-{retry}"
                )
                for index, ask in first.items()
                if self._lacks(found[index])
            }
            self._round(anew, cases, found, flag=f"retried:{retry}")
        for case, written in zip(cases, found, strict=True):
            self._fall_back(case, written)
        return found

    def _lacks(self, written: Written) -> bool:
        return any(key not in written.captions for key in self._wanted)

    def _round(self, asks: Mapping[int, Ask], cases: Sequence[Case], found: Sequence[Written], *, flag: str | None) -> None:
        """Ask, and take every caption that is good and still lacking into `found`."""
        if not asks:
            return
        replies = self._backend.answer(list(asks.values()))
        for index, reply in zip(asks, replies, strict=True):
            written = found[index]
            written.requests += reply.requests
            written.input_tokens += reply.input_tokens
            written.output_tokens += reply.output_tokens
            written.model = reply.model or written.model
            self._take(reply, cases[index].evidence, written, flag)

    def _take(self, reply: Reply, evidence: Evidence, written: Written, flag: str | None) -> None:
        if reply.text is None or reply.finish_reason == "content_filter":
            code, detail = reply.error or ("content_filter", "the server withheld the answer")
            self._fail(written, f"{code}: {detail}")
            return
        written.answers.append(reply.text)
        asking = self._asking
        answer = read_answer(reply.text, languages=asking.languages, levels=asking.levels, cut=reply.finish_reason == "length")
        if answer.fault is not None:
            self._fail(written, answer.fault)
            written.last = (reply.text, [answer.fault], answer.fault.partition(":")[0] not in HOPELESS)
            return
        texts, flags, wrong = self._judged(answer.captions, evidence)
        wrong |= {key: [Fault("missing", "the caption is not in the answer")] for key in answer.missing}
        notes = [f"json:{note}" for note in answer.notes if note not in ("leading_text", "trailing_text")]
        for key, text in texts.items():
            if key in wrong:
                written.reasons[key] = str(wrong[key][0])
            elif key not in written.captions:
                more = [*flags[key], *notes, *([flag] if flag else [])]
                written.captions[key] = self._caption(key, text, evidence, reply, more)
        for key in answer.missing:
            written.reasons[key] = str(wrong[key][0])
        open_faults = [(key, fault) for key, found in wrong.items() if key not in written.captions for fault in found]
        written.last = (reply.text, list(named_faults(open_faults)), not any(fault.code == "loop" for _, fault in open_faults))

    def _judged(
        self, captions: Mapping[Key, str], evidence: Evidence
    ) -> tuple[dict[Key, str], dict[Key, list[str]], dict[Key, list[Fault]]]:
        """Return the captions mended, the flags of what was mended, and the faults that are left, by language and level."""
        texts, flags, wrong = {}, {}, {}
        asking = self._asking
        for key, text in captions.items():
            language, level = key
            recall = asking.min_text_recall
            texts[key], done = repaired(text, language=language, level=level, evidence=evidence, min_text_recall=recall)
            flags[key] = [f"repaired:{name}" for name in done]
            found = faults(
                texts[key], language=language, level=level, evidence=evidence, words=asking.words, min_text_recall=recall
            )
            if found:
                wrong[key] = found
        for key, fault in disagreements({key: text for key, text in texts.items() if key not in wrong}).items():
            wrong[key] = [fault]
        return texts, flags, wrong

    def _fail(self, written: Written, reason: str) -> None:
        written.reasons |= {key: reason for key in self._wanted if key not in written.captions}
        written.last = None

    def _caption(self, key: Key, text: str, evidence: Evidence, reply: Reply, flags: Sequence[str]) -> Caption:
        language, level = key
        return {
            "language": language,
            "level": level,
            "text": text,
            "backend": self._name,
            "evidence": grounds(text, evidence=evidence),
            "flags": list(dict.fromkeys([*evidence.facts.flags, *flags])),
            "model": reply.model,
            "prompt": self.prompt,
        }

    def _fall_back(self, case: Case, written: Written) -> None:
        """Fill what no round could answer from facts; the flag says why. Captions end in the order of language and level."""
        facts = case.evidence.facts
        for caption in compose(facts, languages=self._asking.languages, levels=self._asking.levels):
            key = caption["language"], caption["level"]
            if key not in written.captions:
                reason = case.problem or written.reasons.get(key, "no answer")
                caption["flags"] = [*caption["flags"], f"fallback:{' '.join(reason.split())[:MAX_REASON_CHARACTERS]}"]
                written.captions[key] = caption
        written.captions = {key: written.captions[key] for key in self._wanted}


def fallback_reasons(found: Sequence[Written]) -> Counter[str]:
    """Return how many captions fell back to facts, by the code of the reason."""
    codes: Counter[str] = Counter()
    for written in found:
        for caption in written.captions.values():
            codes.update(flag.split(":")[1] for flag in caption["flags"] if flag.startswith("fallback:"))
    return codes


def usage(written: Written, *, input_price: float = 0.0, output_price: float = 0.0) -> dict[str, Any]:
    """Return the USAGE of one image; prices are per million tokens."""
    cost = (written.input_tokens * input_price + written.output_tokens * output_price) / 1e6
    return {
        "requests": written.requests,
        "input_tokens": written.input_tokens,
        "output_tokens": written.output_tokens,
        "cost": cost,
    }
