"""The verb remediate: failures of a model in, proposals for the data set out, to be reviewed by a person.

Three questions are asked. By picture: which kept images lie near the failed pictures, and do they come from regions, or are
they images, that are found more often than chance explains (drop)? By the phrases `wrong` and `right`: whose captions say it
(relabel)? By prompt: does the collection hold what was asked for at all, and which regions do the prompts fall into (fetch)?
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from curation.tables import Run
from graph.fulltext import FullText
from graph.search import nearest
from jobs import corpus, remedies
from jobs.failures import Failure, cases, read_failures
from jobs.proposals import Proposal
from jobs.remediate_view import show, write
from jobs.shortages import hits_of, missing, relabels
from jobs.suspects import Evidence, suspicious

log = logging.getLogger(__name__)


def remediate(run: Run, *, failures: Path | None, apply: Path | None, out: Path | None, k: int = 10, want: int = 20) -> None:
    """Write proposals for the failures, or the approved proposals as remedies, and print what was done."""
    if (failures is None) == (apply is None):
        raise ConfigError("remediate takes exactly one of --failures and --apply")
    if apply is not None:
        if out is None:
            raise ConfigError("--apply needs --out: NEW.yaml for a new run and its remedies, or FILE.jsonl for these alone")
        counts = remedies.apply(run, apply, out)
        print(f"{', '.join(f'{number} to {action}' for action, number in counts.items())}: {out}")
        return
    assert failures is not None
    found = read_failures(failures)
    folder = out or run.root / "remediation"
    proposals = propose(run, found, k=k, want=want)
    write(folder, run, proposals, found)
    show(folder, proposals)


def propose(run: Run, failures: Sequence[Failure], *, k: int = 10, want: int = 20, max_q: float = 0.05) -> list[Proposal]:
    """Return proposals for the reviewer, those to drop first, each with its evidence and `approved` null.

    k: training images retrieved per picture and prompt. want: images that a concept needs. max_q: share of false alarms among
    the regions and images that are reported. Raises ConfigError before there is a selection.
    """
    allowed = corpus.kept(run)
    grouped = cases(failures)
    index = corpus.full_text(run) if corpus.has_words(run) else None
    try:
        evidence = Evidence(_by_picture(run, failures, allowed, k), _by_prompt(run, failures, allowed, k, index))
        found = suspicious(run, failures, grouped, evidence, allowed, max_q)
        if index is not None:
            found += relabels(run, failures, grouped, index, allowed)
            found += missing(run, grouped, index, allowed, want)
    finally:
        if index is not None:
            index.close()
    return [{"proposal": number, **one, "approved": None} for number, one in enumerate(found, start=1)]


def _by_picture(
    run: Run, failures: Sequence[Failure], allowed: NDArray[np.bool_], k: int
) -> dict[int, tuple[list[int], list[float]]]:
    pictured = [(number, failure.image) for number, failure in enumerate(failures) if failure.image is not None]
    if not pictured:
        return {}
    vectors, errors = corpus.embed_files(run, [image for _, image in pictured])
    for (_, image), error in zip(pictured, errors, strict=True):
        if error is not None:
            log.warning("%s cannot be read as an image and is left out: %s", image, error)
    readable = [at for at, error in enumerate(errors) if error is None]
    if not readable:
        return {}
    found = nearest(queries=vectors[readable], parts=corpus.parts(run), k=k, mean=corpus.mean(run), allowed=allowed)
    return {
        pictured[at][0]: (rows.tolist(), [round(float(c), 6) for c in cosine])
        for at, (rows, cosine) in zip(readable, found, strict=True)
    }


def _by_prompt(
    run: Run, failures: Sequence[Failure], allowed: NDArray[np.bool_], k: int, index: FullText | None
) -> dict[int, list[int]]:
    prompts = {number: failure.prompt for number, failure in enumerate(failures) if failure.prompt}
    if prompts and corpus.has_text_tower(run):
        vectors = corpus.embed_texts(run, list(prompts.values()))
        found = nearest(queries=vectors, parts=corpus.parts(run), k=k, allowed=allowed)
        return {number: rows.tolist() for number, (rows, _) in zip(prompts, found, strict=True)}
    if prompts and index is None:
        log.warning("%s has neither a text tower nor words: prompts are left out", run.root)
        return {}
    hits = {prompt: hits_of(index, prompt, allowed, k) for prompt in dict.fromkeys(prompts.values())} if index else {}
    return {number: hits[prompt] for number, prompt in prompts.items()}
