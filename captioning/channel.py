"""One HTTP connection pool to one server: a body goes out, a verdict comes back, whatever happens on the way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from captioning.verdicts import Verdict, broken, verdict
from curation.errors import ConfigError

MAX_RESPONSE_BYTES = 32 << 20
"""A longer response is no answer of a few thousand tokens."""
CONNECT_SECONDS = 20.0


@dataclass(frozen=True)
class Response:
    """A verdict and the headers it came with; `reached` is False when no connection could be made."""

    verdict: Verdict
    headers: Mapping[str, str] = field(default_factory=dict)
    reached: bool = True


def chat_url(url: str) -> str:
    """Return the address of chat completions under a server's base address; raises ConfigError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"endpoint.url {url!r} is no address; give http(s)://HOST:PORT/v1")
    if parts.username or parts.password or parts.query:
        raise ConfigError("endpoint.url must hold no user, password or query: name the key's variable in endpoint.api_key_env")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/chat/completions') else path + '/chat/completions'}"


class Channel:
    """Sends bodies to one address; belongs to one event loop."""

    def __init__(self, url: str, *, secret: str = "") -> None:
        """Prepare; no connection is made. secret: the API key, which goes into one header and nowhere else."""
        self.url, self._secret = url, secret
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: Mapping[str, Any], *, timeout_seconds: float) -> Response:
        """Send one request and return what became of it; raises nothing but cancellation."""
        limits = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(CONNECT_SECONDS, timeout_seconds))
        encoded = json.dumps(body, ensure_ascii=True).encode("ascii")
        try:
            async with self._opened().post(self.url, data=encoded, timeout=limits, allow_redirects=False) as response:
                answer = await _read(response)
                if response.status >= 500:
                    response.close()  # servers drop the connection after an error: nobody else must be sent over it
                found = verdict(response.status, answer, secret=self._secret, with_schema="response_format" in body)
                return Response(found, response.headers)
        except TimeoutError:
            return Response(broken("timeout", f"no answer within {timeout_seconds:.0f} s"))
        except aiohttp.ClientConnectorError as error:
            return Response(broken("unreachable", error, secret=self._secret), reached=False)
        except aiohttp.ClientPayloadError as error:
            return Response(broken("cut", error, secret=self._secret))
        except (aiohttp.ClientConnectionError, ConnectionError) as error:
            return Response(broken("connection", error, secret=self._secret))
        except (aiohttp.ClientError, ValueError) as error:
            return Response(broken("bad_gateway", error, secret=self._secret))

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            if self._secret:
                headers["Authorization"] = f"Bearer {self._secret}"
            connector = aiohttp.TCPConnector(limit=0)  # the gate limits
            self._session = aiohttp.ClientSession(connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(1 << 16):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_RESPONSE_BYTES:
            response.close()
            raise aiohttp.ClientPayloadError(f"the response is longer than {MAX_RESPONSE_BYTES} bytes")
    return b"".join(chunks)
