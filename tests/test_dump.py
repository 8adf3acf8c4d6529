"""Pages of a dump: every packing and split gives the same pages; what is damaged is named and nothing else is lost."""

import bz2
import gzip
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from captioning.bzip2 import blocks, ends_properly
from captioning.chunks import lines, open_source
from captioning.dump import MAX_PAGE_BYTES, Page, open_dump, pages
from captioning.site import Site
from captioning.wikipedia import count_by_kind, page_table, row_of
from curation.errors import SourceError

SAMPLES = Path(str(files("gensim"))) / "test" / "test_data"
ENWIKI = SAMPLES / "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"


def read(path: Path, parts: int = 1) -> list[Page]:
    dump = open_dump(path)
    borders = [dump.source.size * number // parts for number in range(parts + 1)]
    found = [page for start, end in pairwise(borders) for page in pages(dump, start, end)]
    return [page._replace(position=0) for page in found]


@pytest.fixture(scope="module")
def raw() -> bytes:
    return bz2.decompress(ENWIKI.read_bytes())[:1_500_000]


@pytest.fixture(scope="module")
def plain(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dump") / "pages.xml"
    path.write_bytes(raw[: raw.rfind(b"</page>") + 7] + b"</mediawiki>")
    return path


def test_every_page_of_the_real_sample_is_read() -> None:
    found = read(ENWIKI)
    assert (len(found), sum(page.redirect is not None for page in found)) == (206, 100)
    assert not any(page.error for page in found)


def test_any_split_and_packing_gives_the_same_pages(plain: Path, tmp_path: Path) -> None:
    content = plain.read_bytes()
    (tmp_path / "single.bz2").write_bytes(bz2.compress(content))
    streams = [bz2.compress(content[start : start + 90_000]) for start in range(0, len(content), 90_000)]
    (tmp_path / "multi.bz2").write_bytes(b"".join(streams))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    expected = read(plain)
    assert len(expected) > 40
    for parts in (2, 3, 50):
        assert read(plain, parts) == expected
        assert read(tmp_path / "single.bz2", parts) == expected
        assert read(tmp_path / "multi.bz2", parts) == expected
    assert read(tmp_path / "packed.gz") == expected


def test_blocks_of_a_bzip2_file_join_to_its_content(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.bz2"
    path.write_bytes(bz2.compress(raw, 1))
    assert b"".join(block.content or b"" for block in blocks(path)) == raw
    assert ends_properly(path)
    path.write_bytes(bz2.compress(raw, 1)[:-20])
    assert not ends_properly(path)


def test_utf16_with_byte_order_mark_is_read() -> None:
    dump = open_dump(SAMPLES / "bgwiki-latest-pages-articles-shortened.xml.bz2")
    assert (dump.source.encoding, dump.site.language) == ("utf-16-le", "bg")
    assert next(iter(pages(dump))).title == "Григориански календар"


def test_a_dump_without_siteinfo_is_read() -> None:
    assert [page.error for page in read(SAMPLES / "enwiki-table-markup.xml.bz2")] == [None] * 5


def test_a_cut_file_keeps_what_is_there_and_says_so(plain: Path, tmp_path: Path) -> None:
    whole = read(plain)
    content = plain.read_bytes()
    for name, cut in (
        ("a.xml", content[:-20_000]),
        ("a.bz2", bz2.compress(content, 1)[:-9_000]),
        ("a.gz", gzip.compress(content)[:-9_000]),
    ):
        (tmp_path / name).write_bytes(cut)
        found = read(tmp_path / name)
        good = [page for page in found if not page.error]
        assert 0 < len(good) < len(whole)
        assert good == whole[: len(good)]
        assert {page.error for page in found if page.error} <= {"truncated", "corrupt"}
        assert len(good) < len(found)


def test_a_damaged_block_loses_its_own_pages_only(plain: Path, tmp_path: Path) -> None:
    packed = bytearray(bz2.compress(plain.read_bytes(), 1))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "d.bz2").write_bytes(packed)
    found = read(tmp_path / "d.bz2")
    good = [page for page in found if not page.error]
    assert good[0] == read(plain)[0] and good[-1] == read(plain)[-1]
    assert [page.error for page in found if page.error]


def test_one_page_of_broken_xml_is_one_failed_page(plain: Path, tmp_path: Path) -> None:
    content = plain.read_bytes().replace(b"<title>Albedo</title>", b"<title>Albedo<</title>")
    (tmp_path / "b.xml").write_bytes(content)
    found = read(tmp_path / "b.xml")
    assert len(found) == len(read(plain))
    assert [page.error for page in found if page.error] == ["corrupt"]


def test_a_huge_page_is_named_and_the_next_one_read(tmp_path: Path) -> None:
    with (tmp_path / "h.xml").open("wb") as file:
        file.write(b"<mediawiki><page><title>Huge</title><revision><text>")
        for _ in range(MAX_PAGE_BYTES // (1 << 20) + 2):
            file.write(b"[[a" * (1 << 20))
        file.write(
            b"</text></revision></page><page><title>Next</title><ns>0</ns><id>2</id><revision><text>x</text></revision></page>"
        )
    assert [(page.title, page.error) for page in read(tmp_path / "h.xml")] == [("Huge", "too_large"), ("Next", None)]


def page(title: str, text: str, **about: str | None) -> Page:
    return Page(1, 0, title, about.get("redirect"), text, 0)


def test_kinds_of_pages_are_told_apart() -> None:
    rows = [
        row_of(page("Cat", "A '''cat''' is a [[pet]]."), Site()),
        row_of(page("Kitty", "#REDIRECT [[Cat#Names]]"), Site()),
        row_of(page("Kater", "#перенаправление [[cat]]"), Site()),
        row_of(page("Bad", "", redirect="Category:Cats"), Site()),
        row_of(page("Mercury", "{{disambiguation}}"), Site()),
        row_of(page("List of cats", "x"), Site()),
        row_of(page("1999", "x"), Site()),
        row_of(Page(1, 10, "T", None, "x", 0), Site()),
        row_of(page("Empty", ""), Site()),
    ]
    assert [row.kind for row in rows] == [
        "article",
        "redirect",
        "redirect",
        "redirect",
        "disambiguation",
        "list",
        "date",
        "other",
        "article",
    ]
    assert [row.redirect for row in rows[1:4]] == ["Cat", "Cat", ""]
    assert count_by_kind(page_table(rows))["article"] == 2


def test_an_article_says_what_it_is() -> None:
    text = (
        "{{Short description|Animal that purrs}}\n{{Infobox animal\n| name = Cat\n| image = Cat on wall.jpg\n}}\n"
        "[[File:Other.jpg|thumb|A [[cat]]]]\nThe '''cat''' (''Felis catus'') is a small [[mammal|animal]]. It has fur.\n"
        "== Life ==\n[[Category:Pets| ]][[zh:猫]]{{coord|1|2}}"
    )
    row = row_of(page("Cat", text), Site())
    assert (row.description, row.image, row.infobox) == ("Animal that purrs", "Cat on wall.jpg", "Infobox animal")
    assert (row.lead, row.title_zh, row.categories) == ("The cat (Felis catus) is a small animal.", "猫", ["Pets"])
    assert row.coordinates
    assert row_of(page("Cat", text.replace("{{Short description|Animal that purrs}}", "")), Site()).description == "small animal"


@pytest.mark.parametrize("content", [b"%PDF", b"<html>", b"7z\xbc\xaf\x27\x1c", b"", b"BZh9garbage"])
def test_what_is_no_dump_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SourceError, match="x"):
        open_dump(tmp_path / "x")


def test_lines_are_shared_out_without_loss(tmp_path: Path) -> None:
    content = b"\n".join(b"line %d " % number * (number % 50) for number in range(3000))
    (tmp_path / "l.txt").write_bytes(content)
    (tmp_path / "l.bz2").write_bytes(
        b"".join(bz2.compress(content[start : start + 9000]) for start in range(0, len(content), 9000))
    )
    for name in ("l.txt", "l.bz2"):
        source = open_source(tmp_path / name)
        borders = [source.size * number // 7 for number in range(8)]
        found = [line for start, end in pairwise(borders) for _, line in lines(source, start, end)]
        assert b"\n".join(line or b"" for line in found) == content
