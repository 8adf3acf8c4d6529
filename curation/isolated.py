"""Judge images in a child process that may crash, hang or eat memory without taking the part with it.

A decoder is C code and some file will crash it one day. Starting a process per image would cost a second each, so one child
serves requests over a pipe; after a crash or a timeout it is replaced, and only the image at hand gets the blame.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType

from curation.decode import DecodePolicy, ImageHeader
from curation.errors import DecodeError

_START_SECONDS = 60.0
_MEMORY_BYTES = 8 << 30


class IsolatedVerifier:
    """`curation.decode.verify` in a child process; use as a context manager.

    timeout_seconds: longest time for one image. judge: "module:function" that the child calls as (data, policy).
    """

    def __init__(self, policy: DecodePolicy, *, timeout_seconds: float, judge: str = "curation.decode:verify") -> None:
        if timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds is {timeout_seconds}, must be above 0")
        self._policy, self._timeout_seconds, self._judge = policy, timeout_seconds, judge
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> "IsolatedVerifier":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def verify(self, data: bytes) -> ImageHeader:
        """Return what `verify` returns; raises DecodeError, with `worker_crash` or `timeout` when the child fails."""
        connection = self._connection or self._start()
        try:
            connection.send_bytes(data)
            if not connection.poll(self._timeout_seconds):
                self.close()
                raise DecodeError("timeout", f"decoding took longer than {self._timeout_seconds} s")
            answer = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            code = self.close()
            raise DecodeError("worker_crash", f"the decoder's process ended with exit code {code}") from None
        if "code" in answer:
            raise DecodeError(answer["code"], answer["detail"])
        return ImageHeader(**{**answer, "flags": tuple(answer["flags"])})

    def close(self) -> int | None:
        """Kill the child if it runs; returns its exit code, negative for a signal, None when there was none."""
        connection, child = self._connection, self._child
        self._connection = self._child = None
        if connection is not None:
            connection.close()
        if child is None:
            return None
        try:
            return child.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        command = [sys.executable, "-m", "curation.isolated", str(theirs.fileno()), self._judge, json.dumps(asdict(self._policy))]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._child = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._connection = ours
        try:
            ready = ours.poll(_START_SECONDS) and ours.recv_bytes() == b"ready"
        except (EOFError, OSError):
            ready = False
        if not ready:
            raise RuntimeError(f"the decoder's process does not start (exit code {self.close()}): {' '.join(command[:3])}")
        return ours


def serve(connection: Connection, judge: str, policy: DecodePolicy) -> None:
    """Answer every message of encoded bytes with the header or the error as JSON, until the other side closes."""
    module, _, name = judge.partition(":")
    verify = getattr(import_module(module), name)
    connection.send_bytes(b"ready")
    while True:
        try:
            data = connection.recv_bytes()
        except EOFError:
            return
        try:
            answer = asdict(verify(data, policy))
        except DecodeError as error:
            answer = {"code": error.code, "detail": error.detail}
        connection.send_bytes(json.dumps(answer).encode())


def _main() -> None:
    descriptor, judge, policy = sys.argv[1:]
    values = json.loads(policy)
    _limit_memory()
    serve(Connection(int(descriptor)), judge, DecodePolicy(**{**values, "formats": tuple(values["formats"])}))


def _limit_memory() -> None:
    """Make runaway allocation fail here instead of waking the machine's out-of-memory killer (not on Windows)."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, _MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    _main()
