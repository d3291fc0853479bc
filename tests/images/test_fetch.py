import itertools
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from pixmo.images import fetch
from pixmo.images.fetch import Fetcher, is_public
from pixmo.images.normalise import BadImage, Reason


class Web(BaseHTTPRequestHandler):
    """Answers by the name of the path; `seen` counts requests."""

    seen: dict[str, int]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        count = self.seen[self.path] = self.seen.get(self.path, 0) + 1
        parts = self.path.strip("/").split("/")
        match parts[0]:
            case "ok":
                self.answer(200, b"image of " + self.headers["User-Agent"].split("/")[0].encode())
            case "status":
                self.answer(int(parts[1]), b"no")
            case "flaky":
                self.answer(200 if count > int(parts[2]) else int(parts[1]), b"at last")
            case "wait":
                self.answer(200 if count > 1 else 429, b"waited", {"Retry-After": "1"})
            case "redirect":
                left = int(parts[1])
                self.answer(302, b"x" * 10_000, {"Location": f"/redirect/{left - 1}" if left > 1 else "/ok"})
            case "away":
                self.answer(302, b"", {"Location": "file:///etc/passwd"})
            case "large":
                self.answer(200, b"x" * 5000)
            case "endless":
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    for _ in itertools.repeat(None):
                        self.wfile.write(b"x" * 1000)
                except OSError:
                    pass
            case "cut":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"short")
                self.close_connection = True

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A web server on this machine. `url` is its root."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    def handle_error(self, *args: object) -> None:
        """Clients that hang up are what is tested."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()


@pytest.fixture
def web() -> Iterator[Server]:
    Web.seen = {}
    server = Server(Web)
    yield server
    server.stop()


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    with Fetcher(1000, allow_private=True, backoff_seconds=0.001) as fetcher:
        yield fetcher


def refusal(fetcher: Fetcher, url: str) -> tuple[Reason, str]:
    with pytest.raises(BadImage) as caught:
        fetcher.get(url)
    return caught.value.reason, caught.value.detail


def test_a_body(web: Server, fetcher: Fetcher) -> None:
    assert fetcher.get(f"{web.url}/ok") == b"image of pixmo"


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_final_answer_is_asked_for_once(web: Server, fetcher: Fetcher, status: int) -> None:
    assert refusal(fetcher, f"{web.url}/status/{status}") == (Reason.DOWNLOAD_FAILED, f"HTTP {status}")
    assert Web.seen == {f"/status/{status}": 1}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_trouble_is_asked_again_three_times(web: Server, fetcher: Fetcher, status: int) -> None:
    assert fetcher.get(f"{web.url}/flaky/{status}/3") == b"at last"
    assert refusal(fetcher, f"{web.url}/status/{status}") == (Reason.DOWNLOAD_FAILED, f"HTTP {status}")
    assert Web.seen == {f"/flaky/{status}/3": 4, f"/status/{status}": 4}


def test_retry_after_is_heeded(web: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetch.time, "sleep", slept.append)
    assert fetcher.get(f"{web.url}/wait") == b"waited"
    assert slept == [0.0, 1.0]


def test_redirects_have_an_end(web: Server, fetcher: Fetcher) -> None:
    assert fetcher.get(f"{web.url}/redirect/5") == b"image of pixmo"
    assert refusal(fetcher, f"{web.url}/redirect/6") == (Reason.DOWNLOAD_FAILED, "more than 5 redirects")


def test_redirects_stay_on_the_web(web: Server, fetcher: Fetcher) -> None:
    assert refusal(fetcher, f"{web.url}/away")[0] == Reason.DOWNLOAD_FAILED


@pytest.mark.parametrize("path", ["large", "endless"])
def test_a_body_over_the_limit_is_cut_off(web: Server, fetcher: Fetcher, path: str) -> None:
    assert refusal(fetcher, f"{web.url}/{path}")[0] == Reason.TOO_LARGE


def test_a_body_that_breaks_off_is_tried_again(web: Server, fetcher: Fetcher) -> None:
    assert refusal(fetcher, f"{web.url}/cut")[0] == Reason.DOWNLOAD_FAILED
    assert Web.seen == {"/cut": 4}


def test_a_body_that_never_ends_in_time(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "DEADLINE_SECONDS", 0.05)
    with Fetcher(10**9, allow_private=True) as fetcher:
        assert refusal(fetcher, f"{web.url}/endless") == (Reason.DOWNLOAD_FAILED, "not finished after 0 s")


@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/a.jpg", "https://", "https://exa mple/\0", "http://[::1", "https://" + "a" * 70 + ".com/"],
)
def test_addresses_that_are_none(url: str, allow_private: bool) -> None:
    with Fetcher(1000, allow_private=allow_private, backoff_seconds=60) as fetcher:  # and they are not tried again
        assert refusal(fetcher, url)[0] == Reason.DOWNLOAD_FAILED


def test_nobody_answers(fetcher: Fetcher) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        reason, detail = refusal(fetcher, f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert (reason, detail.split(":")[0]) == (Reason.DOWNLOAD_FAILED, "ConnectError")


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "getproxies", dict)


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0"])
def test_this_machine_is_not_asked_by_default(web: Server, host: str) -> None:
    with Fetcher(1000) as fetcher:
        reason, detail = refusal(fetcher, f"http://{host}:{web.server_port}/ok")
    assert reason == Reason.DOWNLOAD_FAILED
    assert "--allow-private-urls" in detail
    assert Web.seen == {}


@pytest.mark.usefixtures("no_proxy")
def test_a_name_is_looked_up_once_and_connected_to(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each redirect is looked up anew, and only the address that was checked is used."""
    asked: list[str] = []
    answers = {"pictures.example": "93.184.215.14", "inside.example": "10.0.0.7"}

    def lookup(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.get(host, host), port))]

    class Redirecting(fetch.httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *args: object, **kwargs: object) -> fetch.httpcore.NetworkStream:
            assert host == "93.184.215.14"
            return super().connect_tcp("127.0.0.1", web.server_port)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(fetch.httpcore, "SyncBackend", Redirecting)
    with Fetcher(1000) as fetcher:
        monkeypatch.setattr(
            Web,
            "do_GET",
            lambda self: (
                self.answer(302, b"", {"Location": "http://inside.example/"})
                if self.path == "/in"
                else self.answer(200, self.headers["Host"].encode())
            ),
        )
        assert fetcher.get("http://pictures.example/a.jpg") == b"pictures.example"
        assert "inside.example is not on the public internet" in refusal(fetcher, "http://pictures.example/in")[1]
    assert [host for host in asked if host in answers] == ["pictures.example", "inside.example"]


@pytest.mark.usefixtures("no_proxy")
def test_a_name_that_does_not_exist_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def lookup(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN if host == "busy.example" else socket.EAI_NONAME, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with Fetcher(1000, backoff_seconds=0.001) as fetcher:
        assert refusal(fetcher, "http://gone.example/")[0] == Reason.DOWNLOAD_FAILED
        assert refusal(fetcher, "http://busy.example/")[0] == Reason.DOWNLOAD_FAILED
    assert asked == ["gone.example"] + 4 * ["busy.example"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_closing_ends_downloads(web: Server) -> None:
    fetcher = Fetcher(1000, allow_private=True)
    fetcher.close()
    with pytest.raises(RuntimeError):
        fetcher.get(f"{web.url}/ok")


@pytest.mark.parametrize("proxies", [{"no": "*"}, {"https": "proxy.example:3128"}, {"ftp": "http://proxy.example"}])
def test_without_a_proxy_of_its_own_a_scheme_is_checked(
    web: Server, monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str]
) -> None:
    monkeypatch.setattr(fetch, "getproxies", lambda: proxies)
    with Fetcher(1000) as fetcher:
        assert "--allow-private-urls" in refusal(fetcher, f"{web.url}/ok")[1]


def test_a_proxy_decides_what_may_be_reached(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setattr(Web, "do_GET", lambda self: self.answer(200, self.path.encode()))
    with Fetcher(1000) as fetcher:
        assert fetcher.get("http://pictures.example/a.jpg") == b"http://pictures.example/a.jpg"


def test_httpx_is_asked_not_to_decode(web: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Web, "do_GET", lambda self: self.answer(200, self.headers["Accept-Encoding"].encode()))
    assert fetcher.get(f"{web.url}/") == b"identity"
    assert httpx.get(f"{web.url}/").text != "identity"
