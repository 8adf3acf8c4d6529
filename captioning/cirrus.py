"""Pages from a cirrussearch dump: JSON lines of Wikipedia's search index, plain text and links without their shown texts.

An index line with the page's number comes before every document. Which text a link shows is not recorded, so a link counts as
shown by its title where the title stands in the text.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from captioning.leads import first_sentence, predicate
from captioning.page_kinds import kind_of
from captioning.site import ARTICLE, Site
from captioning.wikipedia import FAILED, OTHER, REDIRECT, Row

MAX_OPENING_CHARACTERS = 4000


def cirrus_rows(lines: Iterable[tuple[int, bytes | None]], site: Site) -> Iterator[tuple[int, Row]]:
    """Yield (byte of the file up to which had been read, row) for every document, then one for each of its redirects."""
    number: int | None = None
    for position, line in lines:
        if line is None:
            yield position, Row(None, "", FAILED, error="corrupt", error_detail="the file is damaged or cut off here")
            continue
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            if "index" in document and "title" not in document:
                number = int(document["index"]["_id"])
                continue
            yield from ((position, row) for row in _rows(document, number, site))
        except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
            yield position, Row(number, "", FAILED, error="corrupt", error_detail=f"no document: {str(error)[:100]}")
        number = None


def _rows(document: Any, number: int | None, site: Site) -> Iterator[Row]:
    title = site.title(document["title"])
    number = document.get("page_id", number)
    if document.get("namespace", ARTICLE) != ARTICLE:
        yield Row(number, title, OTHER)
        return
    yield _article(document, number, title, site)
    for redirect in document.get("redirect") or []:
        if redirect.get("namespace", ARTICLE) == ARTICLE:
            yield Row(None, site.title(redirect["title"]), REDIRECT, title)


def _article(document: Any, number: int | None, title: str, site: Site) -> Row:
    text = document.get("text") or ""
    lead = first_sentence((document.get("opening_text") or text)[:MAX_OPENING_CHARACTERS])
    templates = [name.partition(":")[2] or name for name in document.get("template") or []]
    described = (document.get("descriptions") or {}).get(site.language) or [None]
    targets = dict.fromkeys(site.title(target) for target in document.get("outgoing_link") or [])
    articles = [target for target in targets if target and site.parted(target)[0] == ARTICLE]
    return Row(
        number,
        title,
        kind_of(title, "".join(f"{{{{{name}}}}}" for name in templates)),
        text=text,
        lead=lead,
        description=described[0] or (predicate(lead) if lead else None),
        categories=list(document.get("category") or []),
        infobox=next((name for name in templates if name.lower().startswith(("infobox", "taxobox", "speciesbox"))), None),
        coordinates=bool(document.get("coordinates")),
        wikidata=document.get("wikibase_item"),
        links={(target, target if target in text else ""): 1 for target in articles},
    )
