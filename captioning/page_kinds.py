"""What kind of page an article is: disambiguation, list, date, or an article about one thing.

Lists and dates link to everything and collect links from everywhere, disambiguation pages are about words: they belong in the
graph, marked, and not among the concepts that a picture can show.
"""

import re

ARTICLE, DISAMBIGUATION, LIST, DATE, OUTSIDE = "article", "disambiguation", "list", "date", "outside"
KINDS = (ARTICLE, DISAMBIGUATION, LIST, DATE, OUTSIDE)
"""Values of ENTITIES.kind."""

_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December|"
    "януари|февруари|март|април|май|юни|юли|август|септември|октомври|ноември|декември"
)
_DISAMBIGUATION_TEMPLATE = re.compile(
    r"\{\{\s*(?:[a-z -]{0,30}\b(?:disambig(?:uation)?(?:[ -][^{}|]{1,30})?|disamb)|dab|hndis|geodis|mathdab|schooldis|numberdis|"
    r"letter-number combination disambiguation|消歧[义義]|消歧[义義]页|begriffsklärung|homonymie|desambiguaci[oó]n|disambigua|"
    r"desambiguação|пояснение|пояснителна страница|неоднозначность|多義詞|曖昧さ回避|aimai)\s*[|}]|__DISAMBIG__",
    re.IGNORECASE,
)
_DISAMBIGUATION_TITLE = re.compile(
    r"[(（](?:disambiguation|消歧[义義]|пояснение|begriffsklärung|homonymie|desambiguación)[)）]$", re.IGNORECASE
)
_LIST_TITLE = re.compile(
    r"^(?:Lists? of|Index of|Outline of|Timeline of|Glossary of|Table of|Comparison of|Bibliography of|Liste? d|Liste der|"
    r"Списък на|Список) ?|(?:列表|年表|大事记)$|^Index (?:of|to) ",
)
_LIST_TEMPLATE = re.compile(
    r"\{\{\s*(?:SIA|set index(?: article)?|surname|given name|shipindex|plant common name)\s*[|}]", re.IGNORECASE
)
_DATE_TITLE = re.compile(
    rf"^(?:(?:AD )?\d{{1,4}}(?:s|er)?(?: (?:BC|AD|BCE|CE|г\.))?|(?:{_MONTHS}) \d{{1,2}}|\d{{1,2}}\.? (?:{_MONTHS})|"
    rf"(?:{_MONTHS})(?: \d{{4}})?|"
    r"\d{1,2}(?:st|nd|rd|th) (?:century|millennium)(?: BCE?)?|前?\d{1,4}年(?:代)?|\d{1,2}月(?:\d{1,2}日)?|\d{1,2}世[纪紀]|"
    r"\d{3,4} in [^\d].*)$"
)
MAX_LOOKED_AT = 200_000
"""Characters of a page that are searched for the templates that mark its kind."""


def kind_of(title: str, text: str) -> str:
    """Return the kind of a page that is no redirect, by its title in normal form and its visible wikitext."""
    if _DISAMBIGUATION_TITLE.search(title):
        return DISAMBIGUATION
    if _DATE_TITLE.match(title):
        return DATE
    looked_at = text if len(text) <= MAX_LOOKED_AT else text[: MAX_LOOKED_AT // 2] + text[-MAX_LOOKED_AT // 2 :]
    if _DISAMBIGUATION_TEMPLATE.search(looked_at):
        return DISAMBIGUATION
    return LIST if _LIST_TITLE.search(title) or _LIST_TEMPLATE.search(looked_at) else ARTICLE
