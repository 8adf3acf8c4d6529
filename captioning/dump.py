"""Pages of a MediaWiki XML dump, from any byte range of it: .bz2 of one stream or many, .gz, or plain XML.

A page belongs to the range in which its <page> begins, so that ranges side by side give every page once, whatever their number.
mwxml reads the pages; what it cannot do is done here: a dump without <siteinfo>, UTF-16, a file that is cut off or damaged in the
middle. A page that cannot be read is a page with an error, and the next one is read all the same.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import ParseError

import mwxml
from mwxml.errors import MalformedXML

from captioning import bzip2
from captioning.chunks import HEAD_BYTES, Source, chunks, open_source
from captioning.site import Site, read_site
from curation.errors import SourceError

MAX_PAGE_BYTES = 32 << 20
"""A larger page is not read; MediaWiki refuses texts above 2 MiB, so it is damage, or not made by MediaWiki."""
_OPEN, _CLOSE = b"<page>", b"</page>"
_TITLE = re.compile(rb"<title>([^<]{1,2000})</title>")
_OPENING = b"<mediawiki><siteinfo></siteinfo>"
_CLOSING = b"</mediawiki>"


class Dump(NamedTuple):
    """A dump file and the rules of its wiki."""

    source: Source
    site: Site


class Page(NamedTuple):
    """One page; a page with an error has at most a title, and a title without one a text, which may be empty."""

    number: int | None
    namespace: int
    title: str
    redirect: str | None
    text: str
    position: int  # byte of the file up to which had been read
    error: str | None = None  # truncated, corrupt, too_large
    detail: str | None = None


class _Segment(NamedTuple):
    content: bytes
    position: int
    error: str | None = None


def open_dump(path: Path) -> Dump:
    """Return a dump with the rules of its wiki; raises SourceError when it cannot be read or is no XML dump at all."""
    source = open_source(path)
    if "<mediawiki" not in source.head and "<page>" not in source.head:
        shown = " ".join(source.head[:60].split())
        if not shown:
            raise SourceError(f"dump {path} is empty, or its first block is cut off or damaged: fetch it again")
        raise SourceError(f"dump {path} is no MediaWiki XML: it begins with {shown!r}, and has no <mediawiki> or <page>")
    return Dump(source, read_site(source.head))


def pages(dump: Dump, start: int = 0, end: int | None = None) -> Iterator[Page]:
    """Yield the pages that begin in bytes [start, end) of the file, in order; a file that is not divisible is read whole."""
    source = dump.source
    end = source.size if end is None else end
    if not source.divisible:
        start, end = 0, source.size
    feeder = _Feeder(_segments(source, start, end))
    while not feeder.exhausted:
        try:
            for page in mwxml.Dump.from_file(feeder).pages:
                yield from feeder.broken()
                yield _page(page, dump.site, feeder.position)
        except (ParseError, MalformedXML, ValueError, AssertionError, TypeError, AttributeError) as error:
            yield from feeder.broken()
            if not feeder.exhausted:
                yield _broken(feeder.current, "corrupt", (str(error).splitlines() or [""])[0])
                feeder.reopen()
    yield from feeder.broken()


class _Feeder:
    """The file that mwxml reads: one page per read, so that an error tells which page it is in."""

    def __init__(self, segments: Iterator[_Segment]) -> None:
        self._segments = segments
        self._opened = False
        self._broken: list[_Segment] = []
        self.current = _Segment(b"", 0)
        self.position = 0
        self.exhausted = False

    def read(self, _size: int = -1) -> bytes:
        """Return the next page's XML; the head of a document first, and its end after the last page."""
        if not self._opened:
            self._opened = True
            return _OPENING
        for segment in self._segments:
            if segment.error is None:
                self.current, self.position = segment, segment.position
                return segment.content
            self._broken.append(segment)
        if self.exhausted:
            return b""
        self.exhausted = True
        return _CLOSING

    def broken(self) -> Iterator[Page]:
        """Yield the pages without an end that were met since the last call."""
        for segment in self._broken:
            yield _broken(segment, str(segment.error), None)
        self._broken = []

    def reopen(self) -> None:
        """Begin a new document with the next page, because an error has ended the one before."""
        self._opened = False


def _page(page: mwxml.Page, site: Site, position: int) -> Page:
    text = ""
    for revision in page:  # of a full history the last one
        text = revision.text or ""
    namespace, title = int(page.namespace or 0), str(page.title or "")
    parted, _, name = site.parted(title)
    if namespace == 0 and parted > 0:  # a dump of before <ns>
        namespace = parted
    if namespace != 0 and parted == namespace:
        title = name
    return Page(page.id, namespace, site.title(title), page.redirect, text, position)


def _broken(segment: _Segment, error: str, detail: str | None) -> Page:
    title = _TITLE.search(segment.content)
    return Page(None, 0, title[1].decode("utf-8", "replace") if title else "", None, "", segment.position, error, detail)


def _segments(source: Source, start: int, end: int) -> Iterator[_Segment]:
    """Yield the bytes from <page> to </page> of every page that begins in the range."""
    buffer = bytearray()
    searched = 0  # bytes of the buffer in which no mark begins
    inside = dropped = False
    owned = True  # the chunk just read begins in the range
    last = start
    for chunk in chunks(source, start, end):
        last = chunk.end
        boundary = len(buffer)
        if chunk.content is None:
            if inside:
                yield _Segment(bytes(buffer[:HEAD_BYTES]), last, "corrupt")
            elif chunk.start < end:
                yield _Segment(b"", last, "corrupt")
            buffer.clear()
            searched, inside, dropped = 0, False, False
            if chunk.start >= end:
                return
            continue
        was_owned, owned = owned, chunk.start < end
        buffer += chunk.content
        while True:
            if not inside:
                at = buffer.find(_OPEN, searched)
                if at < 0:
                    searched = max(0, len(buffer) - len(_OPEN) + 1)
                    del buffer[:searched]
                    searched = 0
                    break
                if not owned and (at >= boundary or not was_owned):
                    return
                del buffer[:at]
                boundary -= at
                searched, inside = len(_OPEN), True
            at = buffer.find(_CLOSE, searched)
            if at < 0:
                searched = max(len(_OPEN), len(buffer) - len(_CLOSE) + 1)
                if len(buffer) > MAX_PAGE_BYTES:
                    dropped = True
                    del buffer[HEAD_BYTES : len(buffer) - len(_CLOSE) + 1]
                    searched, boundary = len(buffer) - len(_CLOSE) + 1, 0
                break
            content, inside = bytes(buffer[: at + len(_CLOSE)]), False
            yield from _closed(content, last, dropped)
            del buffer[: at + len(_CLOSE)]
            boundary -= at + len(_CLOSE)
            searched, dropped = 0, False
        if not owned and not inside:
            return
    if inside:
        yield _Segment(bytes(buffer[:HEAD_BYTES]), last, "truncated")
    elif source.packing == "bz2" and end >= source.size and not bzip2.ends_properly(source.path):
        yield _Segment(b"", last, "truncated")


def _closed(content: bytes, position: int, dropped: bool) -> Iterator[_Segment]:
    """Yield a finished page; when another begins inside of it, the first one has lost its end."""
    if dropped or len(content) > MAX_PAGE_BYTES:
        yield _Segment(content[:HEAD_BYTES], position, "too_large")
        return
    inner = content.rfind(_OPEN)
    if inner > 0:
        yield _Segment(content[: min(inner, HEAD_BYTES)], position, "corrupt")
    yield _Segment(content[inner:], position)
