"""Blocks of a bzip2 file from any byte on, so that one file can be read by many workers.

A bzip2 stream is a chain of blocks of at most 900 kB, each opened by a 48-bit magic number at any *bit* and with a CRC of its
own. Whoever starts in the middle of the file looks for the next magic number, and a single block becomes a valid stream of its
own when a header is put before it and an end behind it. This holds for a file of one stream and for the multistream files of
Wikipedia alike, needs no index, and leaves the other blocks of a damaged file readable.
"""

import bz2
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK_MAGIC = 0x314159265359
"""Opens a block: the digits of pi."""
END_MAGIC = 0x177245385090
"""Opens the end of a stream: the digits of its square root."""
MAGIC_BITS = 48
WINDOW_BYTES = 1 << 20
MAX_FALSE_MAGICS = 2
"""Times the bits of a magic number may occur by chance inside one block."""
MAX_BLOCK_BYTES = 2 << 20
"""Compressed bytes of a block, generously: incompressible data grows by a few percent over 900 kB."""


class Block(NamedTuple):
    """A decoded block; `content` is None when it is damaged or cut off."""

    start: int  # first byte of the file that holds bits of it
    end: int  # byte behind its last one
    content: bytes | None


class _Magic(NamedTuple):
    bit: int
    opens_block: bool


def blocks(path: Path, start: int = 0) -> Iterator[Block]:
    """Yield every block whose magic number begins at byte `start` or behind, to the end of the file."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            yield from _decoded(view, start)


def ends_properly(path: Path) -> bool:
    """Say whether the last stream is closed: the mark of its end, a CRC and less than a byte of padding are the last bits."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 16))
        tail = file.read()
    bits = int.from_bytes(tail, "big")
    return any((bits >> (32 + padding)) & ((1 << MAGIC_BITS) - 1) == END_MAGIC for padding in range(8))


def _decoded(view: mmap.mmap, start: int) -> Iterator[Block]:
    waiting: list[_Magic] = []
    for magic in _magics(view, start):
        waiting.append(magic)
        yield from _complete(view, waiting, final=False)
    yield from _complete(view, waiting, final=True)


def _complete(view: mmap.mmap, waiting: list[_Magic], *, final: bool) -> Iterator[Block]:
    """Yield the blocks that the magic numbers seen so far close, and take them from the list."""
    while waiting and not waiting[0].opens_block:
        waiting.pop(0)
    while waiting and (len(waiting) > MAX_FALSE_MAGICS + 1 or final):
        first = waiting[0].bit
        used, content = 1, None
        for used in range(1, min(len(waiting) - 1, MAX_FALSE_MAGICS + 1) + 1):
            content = _decode(view, first, waiting[used].bit)
            if content is not None:
                break
        if content is None:
            used = 1
        end = waiting[used].bit if used < len(waiting) else len(view) * 8
        yield Block(first // 8, -(-end // 8), content)
        del waiting[:used]
        while waiting and not waiting[0].opens_block:
            waiting.pop(0)


def _decode(view: mmap.mmap, first: int, end: int) -> bytes | None:
    """Return the content of the block in these bits, or None when they are no sound block."""
    if end - first > 8 * MAX_BLOCK_BYTES or end - first < MAGIC_BITS + 32:
        return None
    covering = view[first // 8 : -(-end // 8)]
    bits = int.from_bytes(covering, "big") >> (-end % 8)
    length = end - first
    bits &= (1 << length) - 1
    crc = (bits >> (length - MAGIC_BITS - 32)) & 0xFFFFFFFF
    bits = (((bits << MAGIC_BITS) | END_MAGIC) << 32) | crc  # the CRC of a stream of one block is that of the block
    length += MAGIC_BITS + 32
    padding = -length % 8
    try:
        return bz2.decompress(b"BZh9" + (bits << padding).to_bytes((length + padding) // 8, "big"))
    except (OSError, ValueError, EOFError):
        return None


def _magics(view: mmap.mmap, start: int) -> Iterator[_Magic]:
    """Yield the magic numbers from byte `start` on, in order."""
    overlap = 7  # a magic number covers up to 7 bytes
    for position in range(start, len(view), WINDOW_BYTES):
        window = view[position : position + WINDOW_BYTES + overlap - 1]
        found = [_Magic(position * 8 + bit, opens) for bit, opens in _found(window) if bit < WINDOW_BYTES * 8]
        yield from sorted(found)


def _found(window: bytes) -> Iterator[tuple[int, bool]]:
    for magic, opens in ((BLOCK_MAGIC, True), (END_MAGIC, False)):
        for shift in range(8):
            yield from ((bit, opens) for bit in _found_shifted(window, magic, shift))


def _found_shifted(window: bytes, magic: int, shift: int) -> Iterator[int]:
    """Yield the bits at which `magic` occurs `shift` bits behind the beginning of a byte, by five whole bytes of it."""
    if shift == 0:
        needle, first = magic.to_bytes(6, "big"), 0
    else:
        needle, first = ((magic >> shift) & ((1 << 40) - 1)).to_bytes(5, "big"), 1
    at = window.find(needle)
    while at >= 0:
        begin = at - first
        if begin >= 0:
            bits = int.from_bytes(window[begin : begin + 7].ljust(7, b"\0"), "big")
            if (bits >> (8 - shift)) & ((1 << MAGIC_BITS) - 1) == magic:
                yield begin * 8 + shift
        at = window.find(needle, at + 1)
