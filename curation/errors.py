"""Every error a user can meet, as one small tree.

    ImageloomError              anything below; the command line prints its message and exits with `exit_code`
        ConfigError             a wrong key or value in the YAML or on the command line (exit 2)
        SourceError             the image collection cannot be read at all (exit 3)
        SchemaError             a table does not have the columns its schema names (exit 4)
        StaleInput              a finished stage was built from other inputs or parameters (exit 5)
        CorruptPart             a committed file no longer has its recorded sha256 (exit 6)
        StageFailed             a part failed after all retries (exit 7)
        TooManyFailures         more rows failed than the configured share (exit 8)
        ModelError              weights are missing, of another shape, or unreadable (exit 9)
        EndpointError           a server refuses every ask, or cannot be reached (exit 10)
        Stopped                 a signal asked for the end; what was done is kept (exit 130 for Ctrl-C, 143 for SIGTERM)
        AlreadyExists           an exclusive create found the name taken (two writers; never shown to users)
        DecodeError             one image cannot be decoded; becomes a row with its `code`, never an exit
        EditError               one edit cannot be made or was not made right; becomes a row with its `code`, never an exit

An error of one image is a row, not an exception: DecodeError crosses no module boundary except decode's, EditError none above
the stage `pairs`.
"""

from typing import Literal, get_args

FailureCode = Literal[
    "empty",
    "missing",
    "not_an_image",
    "truncated",
    "corrupt",
    "bomb",
    "unsupported_format",
    "too_small",
    "extreme_aspect",
    "animated",
    "too_large",
    "timeout",
    "worker_crash",
]
"""Why an image could not be used; the only values of IMAGES.error."""

FAILURE_CODES: tuple[str, ...] = get_args(FailureCode)

RejectionCode = Literal[
    "missing_glyph",
    "too_wide",
    "no_room",
    "no_change",
    "overlap",
    "mismatch",
    "not_flat",
    "no_style",
    "misread",
    "lost_line",
    "left_over",
    "too_alike",
    "too_different",
    "no_difference",
    "unreadable",
]
"""Why an edit pair was refused; the only values of EDIT_PAIRS.error."""


class ImageloomError(Exception):
    """Base of every error that is the user's to see."""

    exit_code = 1


class ConfigError(ImageloomError):
    """A key or value in the configuration is wrong."""

    exit_code = 2


class SourceError(ImageloomError):
    """The image collection cannot be read."""

    exit_code = 3


class SchemaError(ImageloomError):
    """A table does not conform to its schema."""

    exit_code = 4


class StaleInput(ImageloomError):
    """A finished stage was built from other inputs or parameters than the present ones."""

    exit_code = 5


class CorruptPart(ImageloomError):
    """A committed file does not match its recorded sha256."""

    exit_code = 6


class StageFailed(ImageloomError):
    """A part could not be computed after all retries."""

    exit_code = 7


class TooManyFailures(ImageloomError):
    """More rows failed than the configuration allows."""

    exit_code = 8


class ModelError(ImageloomError):
    """Model weights are missing, unreadable, or do not fit the architecture."""

    exit_code = 9


class EndpointError(ImageloomError):
    """A server of captions refuses every ask, or cannot be reached."""

    exit_code = 10


class Stopped(ImageloomError):
    """Work was asked to end by a signal, and has ended in order."""

    def __init__(self, message: str, *, signal: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


class AlreadyExists(ImageloomError):
    """An exclusive create found the name taken by another writer."""


class DecodeError(ImageloomError):
    """One image cannot be decoded; `code` is one of FAILURE_CODES."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: FailureCode = code
        self.detail = detail


class EditError(ImageloomError):
    """One edit cannot be made, or what was made is not what was asked; `code` is one of RejectionCode."""

    def __init__(self, code: RejectionCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code: RejectionCode = code
        self.detail = detail
