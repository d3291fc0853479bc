"""Asking an address of a data set for its image, once, and telling what the answer means."""

import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import IO
from urllib.parse import urlsplit

import httpcore
import httpx

from pixmo.clock import now
from pixmo.images.fetch import MAX_REDIRECTS, Fetcher
from pixmo.images.normalise import BadImage

_AGAIN = {408, 425, 429}
_LEAVE_ALONE = {429, 503}
_NEVER = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpcore.UnsupportedProtocol, httpcore.LocalProtocolError,
          UnicodeError)  # fmt: skip
_PASSING = (httpx.HTTPError, httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)
_UNKNOWN_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Status(StrEnum):
    """What became of an image's address.

    `changed_pixels_match`: other bytes, but the same upright pixels (`pixel_sha256`). `dead`: a final answer that is
    no image (404, 410, 403, a host that does not exist). `unreachable`: no answer now (timeouts, 5xx, 429).
    `no_address`: `urn:sha256:...`.
    """

    OK = "ok"
    CHANGED_PIXELS_MATCH = "changed_pixels_match"
    CHANGED = "changed"
    DEAD = "dead"
    UNREACHABLE = "unreachable"
    NO_ADDRESS = "no_address"


@dataclass(frozen=True)
class FetchOptions:
    """How to ask. `timeout` (seconds) bounds each silence, `deadline` one whole answer.

    `retries` follow after the first request, the first of them `backoff` seconds later, then twice as long each time,
    or when the server says (`Retry-After`); if that is more than `longest_wait` seconds, its host is given up, and so
    is one that gives no answer to `host_failures` requests in a row.
    """

    concurrency: int = 32
    per_host: int = 8
    timeout: float = 20.0
    deadline: float = 120.0
    retries: int = 3
    backoff: float = 1.0
    longest_wait: float = 120.0
    host_failures: int = 20
    max_bytes: int = 100 * 2**20
    allow_private: bool = False


DEFAULTS = FetchOptions()


@dataclass(frozen=True, slots=True)
class Link:
    """An image of a data set: its address and what its tables say of its bytes."""

    image_url: str
    image_sha256: str | None = None
    original_sha256: str | None = None
    served_sha256: str | None = None
    pixel_sha256: str | None = None

    @property
    def host(self) -> str:
        """The host of the address in lower case, empty if there is none."""
        try:
            return (urlsplit(self.image_url).hostname or "").lower()
        except ValueError:
            return ""

    @property
    def digests(self) -> frozenset[str]:
        """SHA-256 of all byte strings that are this image."""
        return frozenset(filter(None, (self.image_sha256, self.original_sha256, self.served_sha256)))


class NoImage(Exception):
    """An address gave no image. `again`: asking once more may help, after `wait` seconds if the server says so."""

    def __init__(
        self, status: Status, detail: str, http_status: int | None = None, *, again: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.http_status = http_status
        self.again = again
        self.wait = wait


class LinkClient(Fetcher):
    """Asks one address once, from many threads, with the checks of addresses that `Fetcher` makes."""

    def __init__(self, options: FetchOptions) -> None:
        super().__init__(
            options.max_bytes, allow_private=options.allow_private, connections=max(1, options.concurrency)
        )
        self._client.timeout = httpx.Timeout(options.timeout, connect=min(options.timeout, 10), pool=None)
        self._deadline = options.deadline

    def download(self, url: str, body: IO[bytes]) -> str:
        """Write what is at `url` to `body` and return its SHA-256. Raises `NoImage`, and `OSError` of `body`."""
        end = time.monotonic() + self._deadline
        with _told(), self._asked("GET", url) as response:
            _check(response, {200})
            length = response.headers.get("content-length", "")
            if length.isdecimal() and int(length) > self.max_bytes:
                raise NoImage(Status.CHANGED, f"{int(length):,} bytes, the limit is {self.max_bytes:,}", 200)
            digest, size = hashlib.sha256(), 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > self.max_bytes:
                    raise NoImage(Status.CHANGED, f"more than {self.max_bytes:,} bytes", 200)
                if time.monotonic() > end:
                    detail = f"not finished after {self._deadline:.0f} s"
                    raise NoImage(Status.UNREACHABLE, detail, 200, again=True)
                digest.update(chunk)
                body.write(chunk)
        return digest.hexdigest()

    def probe(self, url: str, *, head: bool = True) -> int:
        """The HTTP status of an address that answers, without its body. Raises `NoImage`.

        Many servers answer HEAD wrongly: what it refuses is asked for with a GET of the first byte.
        """
        if head:
            with _told(), self._asked("HEAD", url) as response:
                if response.status_code in _LEAVE_ALONE or response.status_code == 200:
                    return _check_page(response)
        with _told(), self._asked("GET", url, {"Range": "bytes=0-0"}) as response:
            return _check_page(response)

    @contextmanager
    def _asked(self, method: str, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        """The response at the end of the redirects, whose own bodies are never read."""
        request = self._client.build_request(method, url, headers=headers)
        for _ in range(MAX_REDIRECTS + 1):
            response = self._client.send(request, stream=True)
            try:
                if response.next_request is None:
                    yield response
                    return
                request = response.next_request
            finally:
                response.close()
        raise NoImage(Status.DEAD, f"more than {MAX_REDIRECTS} redirects")


def _check(response: httpx.Response, wanted: set[int]) -> int:
    status = response.status_code
    if status in wanted:
        return status
    if status in _AGAIN or status >= 500:
        wait = retry_after(response.headers.get("retry-after", "")) if status in _LEAVE_ALONE else 0.0
        raise NoImage(Status.UNREACHABLE, f"HTTP {status}", status, again=True, wait=wait)
    raise NoImage(Status.DEAD, f"HTTP {status}", status)


def _check_page(response: httpx.Response) -> int:
    """As `_check`; a web page in place of an image is told by its media type, since the body is not read."""
    status = _check(response, {200, 206})
    if response.headers.get("content-type", "").lower().startswith("text/html"):
        raise NoImage(Status.CHANGED, "a web page (text/html)", status)
    return status


def retry_after(value: str) -> float:
    """Seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3: seconds or a date), 0 if it says nothing."""
    if value.strip().isdecimal():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - now()).total_seconds())


@contextmanager
def _told() -> Iterator[None]:
    """Turns what the network raises into `NoImage`."""
    try:
        yield
    except _NEVER as error:
        raise NoImage(Status.DEAD, f"{type(error).__name__}: {error}") from None
    except BadImage as bad:  # of the check of addresses
        raise NoImage(Status.DEAD if _is_unknown_host(bad) else Status.UNREACHABLE, bad.detail) from None
    except _PASSING as error:
        known = not _is_unknown_host(error)
        detail = f"{type(error).__name__}: {error}"
        raise NoImage(Status.UNREACHABLE if known else Status.DEAD, detail, again=known) from None


def _is_unknown_host(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno in _UNKNOWN_HOST
        error = error.__cause__ or error.__context__
    return False
