"""Plain ustar archives whose bytes depend on nothing but names and contents, written with their offsets.

Python's tarfile and webdataset's TarWriter stamp the time and the owner into each header and do not say where a member's
bytes begin. This writer sets time, user and group to zero, so equal contents give equal files, and returns the offset of each
member's bytes, so that an index can serve any sample with one read. Format: POSIX.1-1988 ustar,
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06
"""

from typing import BinaryIO

BLOCK_BYTES = 512
MAX_NAME_BYTES = 100
MAX_MEMBER_BYTES = 8**11 - 1
"""Largest size that eleven octal digits hold: 8 GiB less one."""


def append(file: BinaryIO, name: str, content: bytes) -> int:
    """Append one regular member and return the offset at which its bytes begin.

    Raises ValueError when the name is not 1 to 100 ASCII characters of a relative path, or the content is too large.
    """
    file.write(_header(name, len(content)))
    offset = file.tell()
    file.write(content)
    file.write(bytes(-len(content) % BLOCK_BYTES))
    return offset


def finish(file: BinaryIO) -> None:
    """Append the two zero blocks that end an archive; a reader that misses them knows that the file was cut."""
    file.write(bytes(2 * BLOCK_BYTES))


def padded_bytes(length: int) -> int:
    """Return how much of an archive a member of `length` bytes takes, with its header."""
    return BLOCK_BYTES + length + -length % BLOCK_BYTES


def _header(name: str, length: int) -> bytes:
    if not name.isascii() or not 0 < len(name) <= MAX_NAME_BYTES or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{name!r} is no member name: use 1 to {MAX_NAME_BYTES} ASCII characters of a relative path")
    if length > MAX_MEMBER_BYTES:
        raise ValueError(f"{name} has {length} bytes; a ustar member holds at most {MAX_MEMBER_BYTES}")
    fields = (
        name.encode().ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0",  # user
        b"0000000\0",  # group
        b"%011o\0" % length,
        b"00000000000\0",  # time
        b" " * 8,  # the checksum counts its own field as spaces
        b"0",  # a regular file
        bytes(100),  # link target
        b"ustar\x0000",
        bytes(32 + 32),  # user and group names
        b"0000000\0" * 2,  # device
        bytes(155 + 12),  # name prefix, padding
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]
