"""The demo's own small encyclopedia: what its photographs, posters, shapes and digits show, in our own sentences.

`data/demo_wiki.txt` holds the articles; what leaves is a MediaWiki dump of them, with redirects, disambiguation pages,
categories, short descriptions, pictures and language links to Chinese titles, for `imageloom knowledge build`.

    # Title | Chinese title | categories (or !disambiguation) | picture
    short description
    > redirects; Chinese redirects
    wikitext
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="en">
  <siteinfo>
    <sitename>Imageloom demo</sitename>
    <dbname>enwiki</dbname>
    <case>first-letter</case>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">File</namespace>
      <namespace key="10" case="first-letter">Template</namespace>
      <namespace key="14" case="first-letter">Category</namespace>
    </namespaces>
  </siteinfo>
"""
PAGE = """  <page>
    <title>{title}</title>
    <ns>0</ns>
    <id>{number}</id>{redirect}
    <revision><text xml:space="preserve">{text}</text></revision>
  </page>
"""


class Article(NamedTuple):
    """One article as its source file gives it."""

    title: str
    chinese: str
    categories: tuple[str, ...]
    picture: str
    description: str
    redirects: tuple[str, ...]
    body: str
    ambiguous: bool


def articles() -> list[Article]:
    """Return every article of the source file."""
    text = files("jobs").joinpath("data/demo_wiki.txt").read_text("utf-8")
    return [_article(block) for block in text.split("\n# ")]


def _article(block: str) -> Article:
    head, *lines = block.removeprefix("# ").strip().split("\n")
    fields = [part.strip() for part in head.split("|")] + [""] * 4
    ambiguous = fields[2] == "!disambiguation"
    categories = () if ambiguous else tuple(name.strip() for name in fields[2].split(","))
    description = "" if lines[0].startswith(">") else lines.pop(0)
    redirects = tuple(name.strip() for name in lines.pop(0)[1:].split(";")) if lines[0].startswith(">") else ()
    return Article(fields[0], fields[1], categories, fields[3], description, redirects, "\n".join(lines), ambiguous)


def write_wiki(path: Path) -> int:
    """Write the dump and return the number of its pages, redirects included."""
    pages = list(_pages())
    path.write_text(HEAD + "".join(pages) + "</mediawiki>\n", encoding="utf-8")
    return len(pages)


def _pages() -> Iterator[str]:
    number = 0
    for article in articles():
        number += 1
        yield PAGE.format(title=escape(article.title), number=number, redirect="", text=escape(_wikitext(article)))
        for name in article.redirects:
            number += 1
            element = f'\n    <redirect title="{escape(article.title)}" />'
            text = f"#REDIRECT [[{article.title}]]"
            yield PAGE.format(title=escape(name), number=number, redirect=element, text=escape(text))


def _wikitext(article: Article) -> str:
    pieces = [f"{{{{Short description|{article.description}}}}}\n"] if article.description else []
    if article.picture:
        pieces.append(f"[[File:{article.picture}|thumb|{article.title}]]\n")
    pieces += [article.body, "\n"]
    if article.ambiguous:
        pieces.append("{{disambiguation}}\n")
    pieces += [f"[[Category:{name}]]\n" for name in article.categories]
    if article.chinese:
        pieces.append(f"[[zh:{article.chinese}]]\n")
    return "".join(pieces)
