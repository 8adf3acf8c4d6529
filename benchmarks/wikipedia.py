"""Links of real wikitext: our scanner beside mwparserfromhell on the same pages in one run; and the whole reading of a page.

    OMP_NUM_THREADS=1 python -m benchmarks.wikipedia

The pages are gensim's shortened sample of the English Wikipedia. CPU seconds of one process, the median of REPEATS for ours and
one pass for mwparserfromhell. Every page on which the counts differ is listed with the reason: a link to a section of the same
page leads to no other page, so ours leaves it out, and mwparserfromhell does not look into <gallery>.
"""

import bz2
import json
import os
import re
import statistics
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import mwparserfromhell
import mwxml

from benchmarks.about import about, heading
from benchmarks.watch import cpu_seconds
from captioning.dump import open_dump, pages
from captioning.site import Site, read_site
from captioning.wikipedia import count_by_kind, page_table, row_of
from captioning.wikitext import links, visible

SAMPLE = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.wikipedia"
REPEATS = 5
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure and write results/wikipedia.{json,md}."""
    load = round(os.getloadavg()[0], 1)
    path = Path(str(files("gensim"))) / "test" / "test_data" / SAMPLE
    raw = bz2.decompress(path.read_bytes())
    site = read_site(raw[:20_000].decode())
    texts = {page.title: next(iter(page)).text or "" for page in mwxml.Dump.from_file(BytesIO(raw)).pages}
    ours, seconds = timed(lambda: {title: links(visible(text), site) for title, text in texts.items()}, REPEATS)
    theirs, peer_seconds = timed(
        lambda: {title: mwparserfromhell.parse(text).filter_wikilinks() for title, text in texts.items()}, 1
    )
    rows, page_seconds = timed(lambda: [row_of(page, site) for page in pages(open_dump(path))], 1)
    megabytes = sum(len(text.encode()) for text in texts.values()) / 1e6
    targets = {title: [str(link.title) for link in found] for title, found in theirs.items()}
    found = {title: [link.title for link in each] for title, each in ours.items()}
    result = {
        **about(COMMAND, load=load, packages=["mwparserfromhell", "mwxml", "gensim"]),
        "pages": len(texts),
        "megabytes": round(megabytes, 2),
        "kinds": count_by_kind(page_table(rows)),
        "redirects_by_mwxml": sum(page.redirect is not None for page in mwxml.Dump.from_file(BytesIO(raw)).pages),
        "ours": {
            "links": sum(map(len, found.values())),
            "cpu_seconds": round(seconds, 3),
            "mb_per_second": round(megabytes / seconds, 1),
        },
        "mwparserfromhell": cost(targets, peer_seconds, megabytes),
        "ratio": round(peer_seconds / seconds, 1),
        "whole_pages": {"cpu_seconds": round(page_seconds, 3), "mb_per_second": round(megabytes / page_seconds, 1)},
        "differences": [
            difference(title, found[title], targets[title], galleries(texts[title], site), site)
            for title in texts
            if len(found[title]) != len(targets[title])
        ],
    }
    (RESULTS / "wikipedia.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / "wikipedia.md").write_text(page_of(result))
    print(page_of(result))


def cost(found: dict[str, list[str]], seconds: float, megabytes: float) -> dict[str, float]:
    """Return how many links were found, and what it took."""
    count = sum(map(len, found.values()))
    return {"links": count, "cpu_seconds": round(seconds, 3), "mb_per_second": round(megabytes / seconds, 2)}


def galleries(text: str, site: Site) -> list[str]:
    """Return the targets of the links inside galleries."""
    inside = re.findall(r"<gallery.*?</gallery>", visible(text), re.DOTALL)
    return [link.title for gallery in inside for link in links(gallery, site)]


def timed(work: Callable[[], Any], times: int) -> tuple[Any, float]:
    """Return a result and the median CPU seconds of making it."""
    seconds = []
    for _ in range(times):
        before = cpu_seconds()
        result = work()
        seconds.append(cpu_seconds() - before)
    return result, statistics.median(seconds)


def difference(title: str, ours: list[str], theirs: list[str], in_galleries: list[str], site: Site) -> dict[str, Any]:
    """Return by how many links a page differs, and which kind they are of."""
    named = [target.title if (target := site.target(text)) else text for text in theirs]
    missing, extra = Counter(named) - Counter(ours), Counter(ours) - Counter(named)
    shown = extra & Counter(in_galleries)
    extra -= shown
    return {
        "page": title,
        "ours": len(ours),
        "mwparserfromhell": len(theirs),
        "sections_of_the_same_page": missing.pop("", 0),
        "inside_galleries": shown.total(),
        "only_mwparserfromhell": sorted(missing.elements()),
        "only_ours": sorted(extra.elements()),
    }


def page_of(result: dict[str, Any]) -> str:
    """Return the result as a page."""
    ours, peer, whole = result["ours"], result["mwparserfromhell"], result["whole_pages"]
    off = 100 * abs(ours["links"] - peer["links"]) / peer["links"]
    lines = [
        "# Links of wikitext\n",
        heading(result) + "\n",
        f"{result['pages']} pages, {result['megabytes']} MB of wikitext: "
        f"{', '.join(f'{number} {kind}' for kind, number in result['kinds'].items())}.",
        f"mwxml names {result['redirects_by_mwxml']} redirects in all namespaces.\n",
        "| | links | CPU s | MB/s |\n|---|---|---|---|",
        f"| our scanner | {ours['links']:,} | {ours['cpu_seconds']} | {ours['mb_per_second']} |",
        f"| mwparserfromhell | {peer['links']:,} | {peer['cpu_seconds']} | {peer['mb_per_second']} |",
        f"| a whole page: XML, links, text, lead, infobox | | {whole['cpu_seconds']} | {whole['mb_per_second']} |\n",
        f"{off:.2f} % apart, {result['ratio']} times as fast. The pages that differ:\n",
        "Sections are links to sections of the same page; the last two columns are links that only one of them finds.\n",
        "| page | ours | mwparserfromhell | sections | in galleries | mwparserfromhell | ours |\n|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['page']} | {row['ours']} | {row['mwparserfromhell']} | {row['sections_of_the_same_page']} "
        f"| {row['inside_galleries']} | {', '.join(row['only_mwparserfromhell'])} | {', '.join(row['only_ours'])} |"
        for row in result["differences"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
