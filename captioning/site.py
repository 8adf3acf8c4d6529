"""A wiki's own rules for titles: its namespaces in its language, whether the first letter has a case, which links leave it.

What enters is the <siteinfo> of a dump, or nothing, when the English names are known anyway; what leaves is the normal form of a
title, so that "albert_einstein#Life" and "Albert Einstein" are one page.
"""

import html
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

ARTICLE, FILE, CATEGORY = 0, 6, 14
OTHER_WIKI, LANGUAGE = -100, -101
"""Numbers of our own for links that leave the wiki: to a sister project, and to the same article in another language."""
MAX_TITLE_BYTES = 255
"""MediaWiki's limit; what is longer is no title."""

CANONICAL = {
    "media": -2, "special": -1, "talk": 1, "user": 2, "user talk": 3, "wikipedia": 4, "project": 4, "wp": 4, "wikipedia talk": 5,
    "project talk": 5, "wt": 5, "file": 6, "image": 6, "file talk": 7, "image talk": 7, "mediawiki": 8, "mediawiki talk": 9,
    "template": 10, "template talk": 11, "help": 12, "help talk": 13, "category": 14, "category talk": 15, "portal": 100,
    "portal talk": 101, "draft": 118, "module": 828, "module talk": 829,
}  # fmt: skip
"""Names that every wiki understands, whatever its language, and English aliases."""
LOCAL = {
    "文件": 6, "檔案": 6, "档案": 6, "图像": 6, "圖像": 6, "分类": 14, "分類": 14, "ファイル": 6, "画像": 6,
    "カテゴリ": 14, "파일": 6, "분류": 14,
    "datei": 6, "bild": 6, "kategorie": 14, "fichier": 6, "catégorie": 14, "archivo": 6, "imagen": 6, "categoría": 14,
    "immagine": 6, "categoria": 14, "ficheiro": 6, "imagem": 6, "файл": 6, "изображение": 6, "категория": 14, "картинка": 6,
    "afbeelding": 6, "bestand": 6, "categorie": 14, "plik": 6, "grafika": 6, "kategoria": 14,
}  # fmt: skip
"""Names of the two namespaces that matter here in other languages, for dumps that do not say theirs."""
PROJECTS = frozenset(
    "wikt wiktionary s wikisource q wikiquote b wikibooks n wikinews v wikiversity voy wikivoyage species wikispecies d wikidata "
    "commons c m meta mw mediawikiwiki w foundation wmf phab bugzilla doi arxiv rfc pmid iarchive hdl oeis".split()
)
LANGUAGES = frozenset(
    "aa ab ace ady af ak als alt am ami an ang anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar bat-smg bbc "
    "bcl be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs bug bxr ca cbk-zam cdo ce ceb ch cho chr chy ckb "
    "co cr crh cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee el eml en eo es et eu ext fa fat ff fi fiu-vro "
    "fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gu guc gur guw gv ha hak haw he hi hif ho "
    "hr hsb ht hu hy hyw hz ia id ie ig igl ii ik ilo inh io is it iu ja jam jbo jv ka kaa kab kbd kbp kcg kg kge ki kj "
    "kk kl km kn ko koi kr krc ks ksh ku kv kw ky la lad lb lbe lez lfn lg li lij lld lmo ln lo lrc lt ltg lv mad mai "
    "map-bms mdf mg mh mhr mi min mk ml mn mni mnw mo mr mrj ms mt mus mwl my myv mzn na nah nap nds nds-nl ne new ng "
    "nia nl nn no nov nqo nrm nso nv ny oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt pwn "
    "qu rm rmy rn ro roa-rup roa-tara ru rue rw sa sah sat sc scn sco sd se sg sh shi shn si simple sk skr sl sm smn sn "
    "so sq sr srn ss st stq su sv sw szl szy ta tay tcy te tet tg th ti tk tl tly tn to tpi tr trv ts tt tum tw ty tyv "
    "udm ug uk ur uz ve vec vep vi vls vo wa war wo wuu xal xh xmf yi yo za zea zgh zh zh-cn zh-tw zh-classical zh-min- "
    "nan zh-yue zu".split()
)
"""Codes of the Wikipedias."""
_BLANKS = re.compile(r"[\s_\u00a0\u200e\u200f]+")
_ILLEGAL = re.compile(r"[\[\]{}|<>\n\x00-\x1f\x7f\ufffd]")
_SIMPLE = re.compile(r"[^\W_](?:[^\W_]|[.,'()!–-]| (?=[^ ])){0,60}")
"""Most targets: a title in normal form but for its first letter."""
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")


class Target(NamedTuple):
    """Where a link leads; `colon` says that it began with one, which makes a category or file a mere link."""

    namespace: int
    title: str  # without namespace and section; empty: a section of the same page
    prefix: str  # as written, in lower case: of the namespace, language or project
    colon: bool


@dataclass(frozen=True)
class Site:
    """The rules of one wiki."""

    language: str = "en"
    first_letter: bool = True  # the first letter of a title has no case
    namespaces: Mapping[str, int] = field(default_factory=dict)  # names in lower case

    def target(self, written: str) -> Target | None:
        """Return where the text before a link's bar leads, or None when it is no title."""
        if _SIMPLE.fullmatch(written):
            return Target(ARTICLE, self.capitalised(written), "", False)
        text = html.unescape(written) if "&" in written else written
        if "%" in text and _PERCENT.search(text):
            text = unquote(text, errors="replace")
        text = _BLANKS.sub(" ", text).strip()
        colon = text.startswith(":")
        namespace, prefix, name = self.parted(text.lstrip(": "))
        if namespace != OTHER_WIKI and namespace != LANGUAGE:
            name = name.partition("#")[0].rstrip()
        if _ILLEGAL.search(name) or len(name.encode("utf-8", "replace")) > MAX_TITLE_BYTES or (not name and namespace != ARTICLE):
            return None
        return Target(namespace, self.capitalised(name) if namespace >= 0 else name, prefix, colon)

    def parted(self, text: str) -> tuple[int, str, str]:
        """Return namespace, its prefix as written and the rest of a full title."""
        before, colon, name = text.partition(":")
        if not colon:
            return ARTICLE, "", text
        prefix = before.strip().lower()
        namespace = self.namespaces.get(prefix, CANONICAL.get(prefix, LOCAL.get(prefix)))
        if namespace is None and prefix in LANGUAGES and before.strip().islower():
            namespace = LANGUAGE
        if namespace is None and prefix in PROJECTS:
            namespace = OTHER_WIKI
        return (ARTICLE, "", text) if namespace is None else (namespace, prefix, name.strip())

    def title(self, written: str) -> str:
        """Return the normal form of a title of an article: no underscores, a capital first letter where that is the rule."""
        return self.capitalised(_BLANKS.sub(" ", written).strip())

    def capitalised(self, title: str) -> str:
        """Return the title with a capital first letter, unless letters have a case here or the capital is two letters."""
        first = title[:1].upper()
        return first + title[1:] if self.first_letter and len(first) == 1 else title


def read_site(head: str) -> Site:
    """Return the rules that the head of a dump states; English ones when it has no <siteinfo>, or a broken one."""
    language = re.search(r'<mediawiki[^>]*xml:lang="([^"]*)"', head)
    found = re.search(r"<siteinfo>.*?</siteinfo>", head, re.DOTALL)
    code = language[1] if language else "en"
    if not found:
        return Site(code)
    try:
        info = ElementTree.fromstring(found[0])
    except ElementTree.ParseError:
        return Site(code)
    names = {(item.text or "").strip().lower(): int(item.get("key", "0")) for item in info.iter("namespace") if item.text}
    return Site(code, (info.findtext("case") or "first-letter") != "case-sensitive", names)
