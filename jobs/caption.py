"""Captions of a part by the configured backend, with the approved corrections when the YAML names a file of remedies."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from captioning.answer import Backend
from captioning.batch_jsonl import EXPORTED
from captioning.facts import LEVELS, Known, caption, check_asked, gather_rows, originals, table_of
from captioning.metadata import metadata_texts
from captioning.prompting import Prompts
from captioning.quote import QUOTED
from captioning.sent_picture import sent_picture
from captioning.validate import WORDS, Evidence
from captioning.writer import Asking, Case, Writer, Written, fallback_reasons, usage
from curation.errors import TooManyFailures
from curation.pixels import read_pixels
from curation.remedies import checked_remedies, corrected
from jobs.backends import load_backend

log = logging.getLogger(__name__)
CHUNK_ROWS = 256
"""Images whose encoded pictures are in memory at a time."""
PIXELS = {"min_pixels": 3136, "max_pixels": 1_003_520}
"""Budget of a picture where the backend's section names none."""
MIN_JUDGED_ROWS = 20
"""Fewer images of a part do not prove that the model cannot caption."""


class Captioner:
    """Holds backend, prompts and corrections; maps a part's tables to CAPTIONS."""

    def __init__(
        self,
        *,
        backend: str = "facts",
        corrections: str | None = None,
        corrections_sha256: str = "",
        languages: Sequence[str] = ("en", "zh"),
        levels: Sequence[str] = LEVELS,
        model: Mapping[str, Any] | None = None,
        how: Mapping[str, Any] | None = None,
        answering: Backend | None = None,
        **limits: Any,
    ) -> None:
        """Load what `backend` needs.

        model: how to ask (`jobs.config_captions.CaptionConfig`'s keys for models, and `settings` of the backend); None for facts.
        how: further settings of the backend, which change no answer.
        answering: asked in place of the backend that the settings describe; by `jobs.batches` for instance.
        limits: of what facts are spoken of, as `captioning.facts.gather_rows` takes them.
        """
        self.limits = limits
        self._languages, self._levels = languages, levels
        self._relabels = checked_remedies(corrections, corrections_sha256).relabels if corrections else {}
        self.model: ModelCaptioner | None = None
        if backend != "facts":
            asked = dict(model or {})
            asked["settings"] = {**asked.get("settings", {}), **(how or {})}
            self.model = ModelCaptioner(backend, languages, levels, answering=answering, **asked)

    def __call__(self, **tables: pa.Table) -> pa.Table:
        """Write the captions, then correct them."""
        asked = {"languages": self._languages, "levels": self._levels}
        if self.model is None:
            written = caption(**tables, **asked, **self.limits)
        else:
            check_asked(self._languages, self._levels)
            written = self.model.captions(tables["images"], gather_rows(**tables, **self.limits))
        return corrected(written, self._relabels) if self._relabels else written


class ModelCaptioner:
    """A Writer with the pictures it needs; captions rows of IMAGES whose facts are known."""

    def __init__(
        self,
        backend: str,
        languages: Sequence[str],
        levels: Sequence[str],
        *,
        settings: Mapping[str, Any],
        answering: Backend | None = None,
        prompts: str | None = None,
        prompts_sha256: str = "",
        words: Mapping[str, Sequence[int]] | None = None,
        max_fallback_share: float = 0.5,
        clip: str | None = None,
        min_clip_score: float = 0.5,
        **asking: Any,
    ) -> None:
        """Load the backend; the keys are those of `caption` in the YAML. prompts_sha256 only makes a changed prompt visible."""
        bounds = {**WORDS, **{level: (int(low), int(high)) for level, (low, high) in (words or {}).items()}}
        how = Asking(languages=tuple(languages), levels=tuple(levels), words=bounds, **asking)
        self.writer = Writer(answering or load_backend(backend, settings), name=backend, prompts=Prompts(prompts), asking=how)
        self._budget = {name: int(settings.get(name, default)) for name, default in PIXELS.items()}
        self._max_fallback_share = max_fallback_share
        self._prices = {name: float(settings.get(name, 0.0)) for name in ("input_price", "output_price")}
        self._clip: Any = None
        if clip is not None:
            from captioning.clip_score import ClipScorer

            self._clip = ClipScorer(clip)
        self._min_clip_score = min_clip_score
        self.answers: dict[str, list[str]] = {}
        """What the model answered in each round, by id, of the part captioned last."""

    def captions(self, images: pa.Table, known: Sequence[Known]) -> pa.Table:
        """Return CAPTIONS of a part; raises TooManyFailures when the model's captions of most images had to be replaced."""
        rows: list[tuple[list[dict[str, Any]], dict[str, Any] | None, str | None]] = [([], None, one.error) for one in known]
        wanted = [index for index, one in enumerate(known) if one.facts is not None]
        found: list[Written] = []
        self.answers = {}
        for chunk in _chunks(iter(wanted), CHUNK_ROWS):
            cases, pixels = self._cases(images.take(chunk), [known[index] for index in chunk])
            for index, written, decoded in zip(chunk, self.writer.write(cases), pixels, strict=True):
                self._flag(written, decoded)
                rows[index] = (
                    originals(known[index].image) + list(written.captions.values()),
                    usage(written, **self._prices),
                    None,
                )
                self.answers[known[index].image["id"]] = written.answers
                found.append(written)
        self._check(found)
        return table_of(images, rows)

    def _cases(self, images: pa.Table, known: Sequence[Known]) -> tuple[list[Case], list[Any]]:
        cases, kept = [], []
        for one, decoded in zip(known, read_pixels(images, max_side_px=4096), strict=True):
            assert one.facts is not None
            evidence = Evidence(one.facts, metadata_texts(one.image))
            picture = None if decoded is None else sent_picture(decoded.pixels, **self._budget)
            cases.append(
                Case(one.image["id"], evidence, picture, "" if picture else "unreadable: the file is not there any more")
            )
            kept.append(decoded.pixels if decoded is not None and self._clip is not None else None)
        return cases, kept

    def _flag(self, written: Written, pixels: Any) -> None:
        """Flag captions that go badly with their picture, by CLIPScore, when an encoder is configured."""
        if self._clip is None or pixels is None:
            return
        judged = [one for (_, level), one in written.captions.items() if level in ("short", "medium")]
        for one, score in zip(judged, self._clip.scores(pixels, [one["text"] for one in judged]), strict=True):
            if score < self._min_clip_score:
                one["flags"] = [*one["flags"], f"low_clip_score:{score:.2f}"]

    def _check(self, found: Sequence[Written]) -> None:
        fallen = sum(written.fallbacks > len(written.captions) / 2 for written in found)
        codes = fallback_reasons(found)
        for code in (EXPORTED, QUOTED):  # nobody was asked yet: jobs.batches says how many
            codes.pop(code, None)
        reasons = ", ".join(f"{code} {number}" for code, number in codes.most_common(4))
        if reasons:
            log.warning("captions that fell back to facts: %s", reasons)
        if len(found) >= MIN_JUDGED_ROWS and fallen > self._max_fallback_share * len(found):
            raise TooManyFailures(
                f"{fallen} of {len(found)} images had to be captioned from facts, more than caption.max_fallback_share = "
                f"{self._max_fallback_share} allows ({reasons}); look with `imageloom caption RUN --preview 20 --html FILE`"
            )


def _chunks(values: Iterator[int], size: int) -> Iterator[list[int]]:
    while chunk := list(islice(values, size)):
        yield chunk
