"""Content of a packed or plain file from any byte on, in chunks or lines, so that one file is shared out among workers.

What begins in a byte range belongs to it, a line as much as a page: ranges side by side give everything once. A .gz file and
UTF-16 can only be read from their beginning and are read whole by one worker.
"""

import codecs
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from captioning import bzip2
from curation.errors import SourceError

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16


class Source(NamedTuple):
    """A file as it lies on disk."""

    path: Path
    packing: str  # bz2, gz or none
    encoding: str  # utf-8, utf-16-le or utf-16-be
    size: int
    head: str  # its first 64 KiB as text

    @property
    def divisible(self) -> bool:
        """True when a worker can begin in the middle of the file."""
        return self.packing != "gz" and self.encoding == "utf-8"


class Chunk(NamedTuple):
    """A piece of content with the bytes of the file it was read from."""

    start: int
    end: int
    content: bytes | None  # None: damaged, or cut off


def open_source(path: Path) -> Source:
    """Return how a file is packed and encoded; raises SourceError when it cannot be read or is packed in another way."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            size = file.seek(0, 2)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    if magic.startswith((b"7z\xbc\xaf", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK")):
        raise SourceError(f"{path} is packed as 7z, xz, zstd or zip: unpack it first, or take the .bz2 or .gz of the same file")
    packing = "bz2" if magic.startswith(b"BZh") else "gz" if magic.startswith(b"\x1f\x8b") else "none"
    head = bytearray()
    for chunk in _unpacked(path, packing, 0, 0):
        head += chunk.content or b""
        if len(head) >= HEAD_BYTES:
            break
    encoding = _encoding(bytes(head[:4]))
    return Source(path, packing, encoding, size, head[:HEAD_BYTES].decode(encoding, "replace").lstrip("\ufeff"))


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, b"<\0")):
        return "utf-16-le"
    if head.startswith((codecs.BOM_UTF16_BE, b"\0<")):
        return "utf-16-be"
    return "utf-8"


def chunks(source: Source, start: int, end: int) -> Iterator[Chunk]:
    """Yield the content as UTF-8 from byte `start` of the file to its end, not only to byte `end`, which no chunk reaches across.

    The last chunk of a file that has lost its end has no content; neither has one that is damaged.
    """
    if source.encoding == "utf-8":
        yield from _unpacked(source.path, source.packing, start, end)
        return
    decoder = codecs.getincrementaldecoder(source.encoding)("replace")
    for chunk in _unpacked(source.path, source.packing, 0, 0):
        text = None if chunk.content is None else decoder.decode(chunk.content).lstrip("\ufeff")
        yield Chunk(chunk.start, chunk.end, None if text is None else text.encode("utf-8", "replace"))


def _unpacked(path: Path, packing: str, start: int, end: int) -> Iterator[Chunk]:
    if packing == "bz2":
        yield from (Chunk(*block) for block in bzip2.blocks(path, start))
    elif packing == "gz":
        yield from _gz_chunks(path)
    else:
        with path.open("rb") as file:
            file.seek(start)
            while content := file.read(min(CHUNK_BYTES, end - start) if start < end else CHUNK_BYTES):
                yield Chunk(start, start + len(content), content)
                start += len(content)


def lines(source: Source, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes | None]]:
    """Yield (byte of the file up to which had been read, line) for every line that begins in the range; None: lost in damage.

    The first line of a file belongs to byte 0, every other one to where the line feed before it is.
    """
    end = source.size if end is None else end
    if not source.divisible:
        start, end = 0, source.size
    rest, skipping, owned = bytearray(), start > 0, True
    last = start
    for chunk in chunks(source, start, end):
        owned, last = chunk.start < end, chunk.end
        if chunk.content is None:
            yield last, None
            rest.clear()
            skipping = True
            if not owned:
                return
            continue
        position = 0
        while (feed := chunk.content.find(b"\n", position)) >= 0:
            if not skipping:
                yield last, bytes(rest) + chunk.content[position:feed]
            rest.clear()
            skipping, position = False, feed + 1
            if not owned:
                return
        if not skipping:
            rest += chunk.content[position:]
    if rest:
        yield last, bytes(rest)


def _gz_chunks(path: Path) -> Iterator[Chunk]:
    """Yield the content of a .gz file of one member or several; a damaged or missing rest is a chunk without content."""
    with path.open("rb") as file:
        unpack, begun, start, rest = zlib.decompressobj(wbits=31), False, 0, b""
        while packed := rest or file.read(CHUNK_BYTES):
            try:
                content = unpack.decompress(packed, 8 * CHUNK_BYTES)
            except zlib.error:
                begun = begun or bool(packed.strip(b"\0"))  # zeros behind the last member are padding
                break
            begun, rest = True, unpack.unconsumed_tail
            if unpack.eof:
                unpack, begun, rest = zlib.decompressobj(wbits=31), False, unpack.unused_data
            position = file.tell() - len(rest)
            if content:
                yield Chunk(start, position, content)
            start = position
        if begun:
            yield Chunk(start, start, None)
