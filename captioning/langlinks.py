"""Chinese titles by language links: the langlinks SQL dump of a wiki, or Wikidata's JSON dump with its sitelinks.

Both are read line by line and leave as LANGUAGES rows, which name the page by its number (SQL) or its title (Wikidata). Wikidata
also says what an item is: its Q identifier, a description and the classes it is an instance of.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from curation.schema import LANGUAGES

_ROW = re.compile(rb"\((\d+),'(zh|zh-cn)','((?:[^'\\]|\\.)*)'\)")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "Z": "\x1a"}
ROWS_PER_TABLE = 50_000


def is_sql(head: str) -> bool:
    """Say whether a file begins like an SQL dump rather than like JSON."""
    return "INSERT INTO" in head or "CREATE TABLE" in head or head.lstrip().startswith("--")


def langlink_rows(lines: Iterable[tuple[int, bytes | None]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a langlinks dump that lead to the Chinese Wikipedia; a line lost in damage is a row with an error."""
    for _, line in lines:
        if line is None:
            yield {"error": "damaged"}
            continue
        if not line.startswith(b"INSERT INTO"):
            continue
        if not line.rstrip().endswith(b";"):
            yield {"error": "truncated"}
        for page, _, title in _ROW.findall(line):
            text = _ESCAPED.sub(lambda found: _CONTROL.get(found[1], found[1]), title.decode("utf-8", "replace"))
            if text.strip():
                yield {"page": int(page), "title_zh": text.replace("_", " ").strip()}


def sitelink_rows(lines: Iterable[tuple[int, bytes | None]], *, language: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a Wikidata dump that have an article in `language`; a line that is no item is a row with an error."""
    site = f"{language.replace('-', '_')}wiki"
    marked = f'"{site}"'.encode()
    for _, line in lines:
        if line is None:
            yield {"error": "damaged"}
            continue
        text = line.strip().rstrip(b",")
        if marked not in text:
            continue
        try:
            yield from _items(json.loads(text), site, language)
        except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
            yield {"error": f"no item: {str(error)[:100]}"}


def _items(found: Any, site: str, language: str) -> Iterator[dict[str, Any]]:
    if isinstance(found, list) or "entities" in found:
        for item in found if isinstance(found, list) else found["entities"].values():
            yield from _items(item, site, language)
        return
    links = found.get("sitelinks", found)
    title = _text(links.get(site))
    if not title:
        return
    descriptions = found.get("descriptions") or {}
    yield {
        "title": title,
        "title_zh": _text(links.get("zhwiki")),
        "wikidata": found.get("id"),
        "description": _text(descriptions.get(language)),
        "classes": sorted(_classes(found.get("claims") or {})) or None,
    }


def _text(value: Any) -> str | None:
    """Return a title or description, which Wikidata's dumps wrap in an object and simpler files do not."""
    if isinstance(value, dict):
        value = value.get("title", value.get("value"))
    return value.strip() or None if isinstance(value, str) else None


def _classes(claims: Any) -> Iterator[str]:
    for claim in claims.get("P31") or []:
        identifier = claim.get("mainsnak", {}).get("datavalue", {}).get("value", {}).get("id")
        if isinstance(identifier, str):
            yield identifier


def language_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Return LANGUAGES rows, gathered in pieces, so that no long list of objects is held."""
    tables, pending = [LANGUAGES.empty_table()], []
    for row in rows:
        pending.append(row)
        if len(pending) >= ROWS_PER_TABLE:
            tables.append(pa.Table.from_pylist(pending, schema=LANGUAGES))
            pending = []
    return pa.concat_tables([*tables, pa.Table.from_pylist(pending, schema=LANGUAGES)]).combine_chunks()
