"""Ending when asked to: the first Ctrl-C or SIGTERM lets the update end and its checkpoint be written, the second acts at once.

Schedulers and clouds send SIGTERM some seconds or minutes before they kill; torch.distributed.run hands it to its processes.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)

Handler = Callable[[int, FrameType | None], object] | int | None

DEFAULT: dict[signal.Signals, Handler] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""What a process does with them when nobody has decided otherwise: nohup and shells ignore Ctrl-C, Ray handles SIGTERM."""


class Request:
    """Which signal has asked this process to end, 0 while none has."""

    def __init__(self) -> None:
        self.signal = 0

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, and let the next one act as it always does; a signal handler."""
        self.signal = number
        signal.signal(number, DEFAULT[signal.Signals(number)])
        name = signal.Signals(number).name
        logger.warning("%s: this update is finished and its checkpoint written; another %s ends at once", name, name)


@contextmanager
def requests() -> Iterator[Request]:
    """Yield what notes Ctrl-C and SIGTERM, those of them that have their default meaning; in other threads it notes nothing."""
    request, taken = Request(), list[signal.Signals]()
    if threading.current_thread() is threading.main_thread():
        taken = [one for one, handler in DEFAULT.items() if signal.getsignal(one) == handler]
    try:
        for one in taken:
            signal.signal(one, request.receive)
        yield request
    finally:
        for one in taken:
            signal.signal(one, DEFAULT[one])
