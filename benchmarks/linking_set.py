"""Mentions with known targets: the anchors of gensim's sample of English Wikipedia, put back into plain text.

An article becomes windows of some 80 words without markup, and each of its links a span with the title it leads to (redirects
followed). Articles are divided twice, by hashes of their titles: a third are for development, and every article belongs to one of
FOLDS folds per split. A mention is judged with a knowledge base built from the dump without the articles of its own fold, so that
neither its sentence nor its article has told what its words mean.
"""

import bz2
import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from captioning.dump import Page, open_dump, pages
from captioning.prose import cleaned, regions
from captioning.site import ARTICLE, Site
from captioning.wikipedia import REDIRECT, row_of
from captioning.wikitext import Link, links, visible
from curation.tables import Run
from jobs.knowledge import STAGES
from jobs.runner import Planned, fingerprint_of, record_of
from jobs.stage import items
from jobs.worker import Worker

FOLDS = 5
WINDOW_CHARACTERS = 500
_PAGE = re.compile(rb"<page>.*?</page>\s*", re.DOTALL)
_TITLE = re.compile(rb"<title>(.*?)</title>")
_TRAIL = re.compile(r"[a-z]*")
_PLACE = "\x1e"
"""Stands for a link while markup is taken out."""


class Mention(NamedTuple):
    """A link of an article: characters of `start` to `end` in its plain text, and of `offset` in its visible wikitext."""

    start: int
    end: int
    offset: int
    surface: str
    target: str


class Article(NamedTuple):
    """Plain text with its mentions in order."""

    title: str
    text: str
    mentions: list[Mention]


def dump_path() -> Path:
    """Return gensim's sample of the English Wikipedia."""
    name = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    return Path(str(files("gensim").joinpath(f"test/test_data/{name}")))


def articles() -> list[Article]:
    """Return the sample's articles, by title."""
    dump = open_dump(dump_path())
    read = [page for page in pages(dump) if page.namespace == ARTICLE and not page.error]
    rows = [row_of(page, dump.site) for page in read]
    leads = {row.title: row.redirect for row in rows if row.kind == REDIRECT and row.redirect}
    found = [_article(page, dump.site, leads) for page, row in zip(read, rows, strict=True) if row.kind != REDIRECT]
    return sorted(found, key=lambda article: article.title)


def _article(page: Page, site: Site, leads: dict[str, str]) -> Article:
    text = visible(page.text)
    hidden = [(region.start, region.end, None) for region in regions(text)]
    shown = [(link.start, link.end, link) for link in links(text, site)]
    pieces: list[str] = []
    position, kept = 0, []
    for start, end, link in sorted([*hidden, *shown], key=lambda each: (each[0], -each[1])):
        if start < position:
            continue  # inside a template, a table, or a picture's caption
        pieces.append(text[position:start])
        position = end
        if link is not None and link.shown:
            trail = _TRAIL.match(text, end)
            position += len(trail[0]) if trail else 0
            kept.append((link, link.shown + text[end:position]))
            pieces.append(_PLACE)
    first, *rest = cleaned("".join(pieces) + text[position:]).split(_PLACE)  # once, as markup may surround links
    plain, mentions = first, []
    for (link, surface), behind in zip(kept, rest, strict=True):
        if _is_mention(link):
            target = leads.get(link.title, link.title)
            mentions.append(Mention(len(plain), len(plain) + len(surface), link.start, surface, target))
        plain += surface + behind
    return Article(page.title, plain, mentions)


def _is_mention(link: Link) -> bool:
    return link.namespace == ARTICLE and not link.colon and not link.prefix


def windows(article: Article) -> list[tuple[str, list[tuple[int, Mention]]]]:
    """Return the article in pieces that end with a line or a sentence, each with its mentions and where they begin in it."""
    made: list[tuple[str, list[tuple[int, Mention]]]] = []
    for start, end in _pieces(article.text):
        inside = [
            (mention.start - start, mention) for mention in article.mentions if start <= mention.start and mention.end <= end
        ]
        if inside:
            made.append((article.text[start:end], inside))
    return made


def _pieces(text: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for line in re.finditer(r"[^\n]+", text):
        start = line.start()
        while start < line.end():
            end = min(line.end(), start + WINDOW_CHARACTERS)
            if end < line.end():
                stop = max(text.rfind(". ", start, end) + 2, text.rfind(" ", start + WINDOW_CHARACTERS // 2, end) + 1)
                end = stop if stop > start else end
            found.append((start, end))
            start = end
    return found


def is_development(title: str) -> bool:
    """Say whether an article may be looked at when weights are chosen."""
    return _number("development", title) % 3 == 0


def fold(title: str, split: int) -> int:
    """Return the fold of an article in a split."""
    return _number(str(split), title) % FOLDS


def _number(salt: str, title: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}/{title}".encode()).digest()[:8], "big")


def build_without(left_out: set[str], folder: Path) -> Path:
    """Build a knowledge base from the sample without some of its articles, in this process, and return its folder."""
    source = folder / "dump.xml"
    source.parent.mkdir(parents=True, exist_ok=True)
    encoded = {title.encode() for title in left_out}
    document = bz2.decompress(dump_path().read_bytes())
    source.write_bytes(_PAGE.sub(lambda page: b"" if _unescaped(page[0]) in encoded else page[0], document))
    out = folder / "kb"
    out.mkdir()
    run, worker = Run(out), Worker(str(out))
    given = {
        "pages": {"inputs": [{"path": str(source), "kind": "dump"}], "split_bytes": 8 << 20, "language": "en"},
        "titles": {"forms_per_range": 200_000},
        "surfaces": {"language": "en"},
    }
    for stage in STAGES:
        if stage.name in ("languages", "concepts"):
            continue
        planned = Planned(stage, given.get(stage.name, {}))
        print_ = fingerprint_of(run, planned)
        for item in items(stage, run, planned.parameters):
            worker.work(stage, planned.parameters, print_, item)
        run.finish(stage.table, record_of(run, planned, print_))
    return out


def _unescaped(page: bytes) -> bytes:
    title = _TITLE.search(page)
    return title[1].replace(b"&quot;", b'"').replace(b"&amp;", b"&") if title else b""
