"""A real S3 server on loopback for tests: moto's, with one empty bucket."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer


@contextmanager
def object_server(bucket: str) -> Iterator[str]:
    """Yield s3://bucket; the environment names the server and credentials meanwhile."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        request = urllib.request.Request(f"http://{host}:{port}/{bucket}", method="PUT")
        urllib.request.urlopen(request).close()
        yield f"s3://{bucket}"
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        server.stop()
