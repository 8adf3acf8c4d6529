"""Pages of an encyclopedia as the rows of PAGES: what an article is, where it links, and its running text.

Every page of a dump becomes a row, also those that are no articles and those that cannot be read, so that nothing is lost unseen.
An article's row holds all that later stages need; they never look at wikitext again.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from captioning.dump import Page
from captioning.leads import read_lead
from captioning.page_kinds import kind_of
from captioning.prose import lead_wikitext, regions, unlinked
from captioning.site import ARTICLE, CATEGORY, LANGUAGE, Site
from captioning.wikitext import Link, links, visible
from curation.schema import PAGES

REDIRECT, OTHER, FAILED = "redirect", "other", "failed"
"""Values of PAGES.kind beside those of ENTITIES.kind: other namespaces, and pages that could not be read."""
CHINESE = ("zh", "zh-cn")


@dataclass
class Row:
    """One row of PAGES under construction; `links` counts (target, shown text)."""

    page: int | None
    title: str
    kind: str
    redirect: str | None = None
    text: str | None = None
    lead: str | None = None
    description: str | None = None
    image: str | None = None
    categories: list[str] = field(default_factory=list)
    infobox: str | None = None
    coordinates: bool = False
    title_zh: str | None = None
    wikidata: str | None = None
    links: dict[tuple[str, str], int] = field(default_factory=dict)
    error: str | None = None
    error_detail: str | None = None


def row_of(page: Page, site: Site) -> Row:
    """Return the row of a page; a text that no parser survives is a row with the error and the title."""
    if page.error:
        return Row(page.number, page.title, FAILED, error=page.error, error_detail=page.detail)
    if page.namespace != ARTICLE:
        return Row(page.number, page.title, OTHER)
    target = _redirect(page, site)
    if target is not None:
        return Row(page.number, page.title, REDIRECT, target)
    try:
        return _article(page, site)
    except Exception as error:  # the one page is lost, and says so
        return Row(page.number, page.title, FAILED, error="unparsable", error_detail=f"{type(error).__name__}: {error}"[:300])


def _redirect(page: Page, site: Site) -> str | None:
    """Return the title a redirect leads to; '' when that is no article's."""
    written = page.redirect
    if written is None:
        if not page.text.lstrip()[:1] == "#":
            return None
        head, opened, rest = page.text.lstrip()[:600].partition("[[")
        if not opened or "\n" in head or not head[1:].strip(" :").isalpha():
            return None
        written = rest.partition("]]")[0].partition("|")[0]
    target = site.target(written)
    return target.title if target is not None and target.namespace == ARTICLE else ""


def _article(page: Page, site: Site) -> Row:
    text = visible(page.text)
    found = links(text, site)
    hidden = regions(text)
    lead = read_lead(text, lead_wikitext(text, found, hidden), found, hidden, site)
    return Row(
        page.number,
        page.title,
        kind_of(page.title, text),
        text=unlinked(text, found, hidden),
        lead=lead.sentence,
        description=lead.description,
        image=lead.image,
        categories=list(dict.fromkeys(link.title for link in found if link.namespace == CATEGORY and not link.colon)),
        infobox=lead.infobox,
        coordinates=lead.coordinates,
        title_zh=_chinese(found),
        links=dict(Counter((link.title, link.shown) for link in found if link.namespace == ARTICLE)),
    )


def _chinese(found: Iterable[Link]) -> str | None:
    """Return the title of an old language link to the Chinese article."""
    return next((link.title for link in found if link.namespace == LANGUAGE and not link.colon and link.prefix in CHINESE), None)


def page_table(rows: list[Row]) -> pa.Table:
    """Return PAGES rows; lone surrogates, which Arrow cannot hold, become question marks."""
    columns: dict[str, pa.Array] = {}
    for name in ("page", "title", "kind", "redirect", "text", "lead", "description", "image", "categories", "infobox"):
        columns[name] = _array([getattr(row, name) for row in rows], name)
    for name in ("coordinates", "title_zh", "wikidata", "error", "error_detail"):
        columns[name] = _array([getattr(row, name) for row in rows], name)
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row.links))
    kind = PAGES.field("links").type
    parts = [
        _strings([target for row in rows for target, _ in row.links]),
        _strings([shown for row in rows for _, shown in row.links]),
        pa.array([count for row in rows for count in row.links.values()], pa.int32()),
    ]
    flat = pa.StructArray.from_arrays(parts, fields=list(kind.value_type))
    columns["links"] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=kind)
    return pa.Table.from_arrays([columns[name] for name in PAGES.names], schema=PAGES)


def _array(values: list[object], name: str) -> pa.Array:
    kind = PAGES.field(name).type
    return _strings(values) if pa.types.is_string(kind) else pa.array([_clean(value) for value in values], kind)


def _strings(values: list[object]) -> pa.Array:
    return pa.array([_clean(value) for value in values], pa.string())


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return [_clean(item) for item in value] if isinstance(value, list) else value


def count_by_kind(rows: pa.Table) -> dict[str, int]:
    """Return rows of PAGES by kind, failed ones by their error."""
    names = zip(rows.column("kind").to_pylist(), rows.column("error").to_pylist(), strict=True)
    return dict(sorted(Counter(error if error else kind for kind, error in names).items()))
