"""What the verbs of knowledge bases print: one entity, and the account of a build."""

from collections.abc import Mapping
from typing import Any

from curation.tables import Run
from jobs.knowledge_titles import summary

LOST = ("truncated", "corrupt", "too_large", "unparsable")
"""Counts of PAGES that say that something of the input is missing."""


def show_built(kb: Run) -> None:
    """Print what was read and made, and what of the input is missing."""
    pages = (kb.manifest("pages") or {})["counts"]
    about = summary(kb)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in pages.items())
    print(f"pages     {sum(pages.values()):,} ({kinds})")
    outside = about["entities"] - about["articles"]
    print(f"entities  {about['entities']:,}: {about['articles']:,} with an article, {outside:,} only linked to")
    for name in ("repeated titles", "redirects in loops", "redirects that lead outside"):
        if about[name]:
            print(f"          {about[name]:,} {name}")
    for table in ("links", "anchors"):
        print(f"{table:9} {(kb.manifest(table) or {})['rows']:,}")
    lines = (kb.manifest("languages") or {}).get("counts", {})
    if lines:
        print(f"languages {', '.join(f'{count:,} {what}' for what, count in lines.items())}")
    lost = {kind: count for kind, count in pages.items() if kind in LOST}
    lost |= {f"line of languages {what}": count for what, count in lines.items() if what != "ok"}
    if lost:
        listed = ", ".join(f"{count:,} {kind}" for kind, count in lost.items())
        print(f"PARTIAL: some of the input could not be read ({listed}); pages/ names them in its columns error and error_detail")
    print(f"{kb.root}")


def show_entity(found: Mapping[str, Any]) -> None:
    """Print an entity as text."""
    chinese = f"  {found['title_zh']}" if found["title_zh"] else ""
    print(f"{found['title']}{chinese}  [{found['kind']}{', ' + found['wikidata'] if found['wikidata'] else ''}]")
    for name in ("description", "lead", "image", "infobox"):
        if found[name]:
            print(f"  {name:12} {found[name]}")
    if found["categories"]:
        print(f"  categories   {'; '.join(found['categories'])}")
    if found["coordinates"]:
        print("  coordinates  yes")
    _show_concept(found["concept"])
    print(f"  links        {found['links_in']:,} in, {found['links_out']['count']:,} out")
    _listed("from", found["links_in_from"])
    _listed("to", found["links_out"]["titles"])
    print("  names        links  commonness  link probability")
    for name in found["names"]:
        share, probability = (_share(name[key]) for key in ("commonness", "link_probability"))
        print(f"    {name['links']:>12,}  {share:>10}  {probability:>16}  {name['text']}  ({name['origin']}, {name['language']})")
    if found["also_means"]:
        others = (f"{other['title']} {_share(other['commonness'])}" for other in found["also_means"])
        print(f"  also means   {'; '.join(others)}")


def _show_concept(concept: Mapping[str, Any] | None) -> None:
    if concept is None:
        return
    verdict = "kept" if concept["keep"] else "pruned"
    print(f"  pagerank     {concept['pagerank']:.3g}")
    print(f"  visual       {concept['visual']:.2f} by {concept['judge']}, {verdict}: {concept['reason'] or ''}".rstrip(": "))
    if concept["parents"]:
        print(f"  parents      {' < '.join(concept['parents'])}")


def _listed(word: str, titles: list[str]) -> None:
    if titles:
        print(f"    {word:10} {'; '.join(titles)}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
