"""Images by URL: bounded in size and time, tried again when that helps, and never from inside the network."""

import ipaddress
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self
from urllib.request import getproxies

import httpcore
import httpx

from pixmo import __version__
from pixmo.images.normalise import BadImage, Reason

ATTEMPTS = 4
"""One request and three more after 429, 5xx or a broken connection."""
MAX_REDIRECTS = 5
DEADLINE_SECONDS = 120.0
"""A server that sends one byte a second is given up after this."""
LONGEST_WAIT_SECONDS = 30.0

_FINAL = (
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    httpcore.UnsupportedProtocol,
    httpcore.LocalProtocolError,
    UnicodeError,
)
_TRANSIENT = (httpx.HTTPError, httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when it carries an IPv4 address inside (RFC 6052)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner: ipaddress.IPv4Address | None = None
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    ip = inner or ip
    return ip.is_global and not ip.is_multicast


class _PublicBackend(httpcore.NetworkBackend):
    """Connects to public addresses only.

    The address that was checked is the one connected to, so a name that changes its address between the two (DNS
    rebinding) gains nothing, and every redirect passes here as well.
    """

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            problem = f"{host}: {error}"
            if getattr(error, "errno", None) == socket.EAI_AGAIN:
                raise httpcore.ConnectError(problem) from None
            raise BadImage(Reason.DOWNLOAD_FAILED, problem) from None
        addresses = [address for address in dict.fromkeys(str(entry[4][0]) for entry in found) if is_public(address)]
        if not addresses:
            raise BadImage(
                Reason.DOWNLOAD_FAILED, f"{host} is not on the public internet; --allow-private-urls lets it through"
            )
        for address in addresses[:-1]:
            try:
                return self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._backend.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)


class _Stream(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _PublicTransport(httpx.BaseTransport):
    """httpx's own transport but for the network backend, which httpx has no argument for."""

    def __init__(self, connections: int) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            keepalive_expiry=30,
            network_backend=_PublicBackend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        response = self._pool.handle_request(
            httpcore.Request(request.method, url, headers=request.headers.raw, extensions=request.extensions)
        )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Stream(response), extensions=dict(response.extensions)
        )

    def close(self) -> None:
        self._pool.close()


def _proxies() -> dict[str, httpx.BaseTransport | None]:
    """A transport for each scheme that the environment names a proxy for."""
    found = getproxies()
    urls = {scheme: found[scheme] for scheme in ("http", "https", "all") if found.get(scheme)}
    return {
        f"{scheme}://": httpx.HTTPTransport(proxy=url if "://" in url else f"http://{url}")
        for scheme, url in urls.items()
    }


class Fetcher:
    """Downloads images, from many threads at once.

    Where the environment names a proxy (`HTTPS_PROXY` and the like), the proxy resolves names and decides what may be
    reached. Everything else passes the check of addresses, unless `allow_private` lets it be.
    """

    def __init__(
        self, max_bytes: int, *, allow_private: bool = False, connections: int = 16, backoff_seconds: float = 0.5
    ) -> None:
        self.max_bytes = max_bytes
        self.backoff_seconds = backoff_seconds
        self._client = httpx.Client(
            transport=None if allow_private else _PublicTransport(connections),
            mounts=None if allow_private else _proxies(),
            headers={
                "User-Agent": f"pixmo/{__version__}",
                "Accept": "image/*,*/*;q=0.5",
                "Accept-Encoding": "identity",
            },
            timeout=httpx.Timeout(20, connect=10, pool=None),
            limits=httpx.Limits(max_connections=connections),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all downloads; those under way raise."""
        self._client.close()

    def get(self, url: str) -> bytes:
        """The body at `url`. Raises `BadImage`: `download_failed`, or `too_large` beyond `max_bytes`."""
        problem, wait = "", 0.0
        for attempt in range(ATTEMPTS):
            time.sleep(min(wait, LONGEST_WAIT_SECONDS))
            wait = self.backoff_seconds * 2**attempt
            try:
                with self._open(url) as response:
                    status = response.status_code
                    if status == 200:
                        return self._body(response)
                    problem = f"HTTP {status}"
                    if status != 429 and status < 500:
                        break
                    after = response.headers.get("retry-after", "")
                    wait = max(wait, float(after)) if after.isdecimal() else wait
            except _FINAL as error:
                problem = f"{type(error).__name__}: {error}"
                break
            except _TRANSIENT as error:
                problem = f"{type(error).__name__}: {error}"
        raise BadImage(Reason.DOWNLOAD_FAILED, problem)

    @contextmanager
    def _open(self, url: str) -> Iterator[httpx.Response]:
        """The response at the end of the redirects, whose own bodies are never read."""
        request = self._client.build_request("GET", url)
        for _ in range(MAX_REDIRECTS + 1):
            response = self._client.send(request, stream=True)
            try:
                if response.next_request is None:
                    yield response
                    return
                request = response.next_request
            finally:
                response.close()
        raise BadImage(Reason.DOWNLOAD_FAILED, f"more than {MAX_REDIRECTS} redirects")

    def _body(self, response: httpx.Response) -> bytes:
        declared = response.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            raise BadImage(Reason.TOO_LARGE, f"{int(declared):,} bytes, the limit is {self.max_bytes:,}")
        body = bytearray()
        end = time.monotonic() + DEADLINE_SECONDS
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self.max_bytes:
                raise BadImage(Reason.TOO_LARGE, f"more than {self.max_bytes:,} bytes")
            if time.monotonic() > end:
                raise BadImage(Reason.DOWNLOAD_FAILED, f"not finished after {DEADLINE_SECONDS:.0f} s")
        return bytes(body)
