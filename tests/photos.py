"""A web server of test images. What it answers is told by the path; every request is noted."""

import io
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image


def photo(seed: int, kind: str = "PNG", **options: Any) -> bytes:
    """A picture like no other seed's. The same seed as PNG has the same pixels whatever `compress_level` is."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


@dataclass
class Reply:
    """One answer. `cut` closes the connection after so many bytes of the body; `reset` before any answer."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: int | None = None
    reset: bool = False
    media_type: str = "image/png"


Answer = Reply | Callable[[int], Reply]
"""A reply, or what gives the reply to the n-th request (from 0)."""


class _Handler(BaseHTTPRequestHandler):
    server: "PhotoServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        reply = self.server.note(self.command, self.path)
        with self.server.busy():
            time.sleep(reply.wait)
        if self.command in self.server.refused_methods:
            reply = Reply(status=405)
        if reply.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), "Content-Type": reply.media_type}.items():
            self.send_header(name, value)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(reply.body[: reply.cut])
        self.close_connection = self.close_connection or reply.cut is not None

    def log_message(self, *args: object) -> None:
        pass


class PhotoServer(ThreadingHTTPServer):
    """A web server on this machine, started at once. `url` is its root, `paths` what it has, else it says 404.

    `requests` are (method, path, moment in seconds); `most` is how many were being answered at once.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.other_url = f"http://localhost:{self.server_port}"
        self.paths: dict[str, Answer] = {}
        self.requests: list[tuple[str, str, float]] = []
        self.refused_methods: set[str] = set()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    def put(self, path: str, answer: Answer) -> str:
        """Answer at `path` from now on; its address."""
        self.paths[path] = answer
        return self.url + path

    @property
    def seen(self) -> Counter[str]:
        """Requests by path."""
        return Counter(path for _, path, _ in self.requests)

    def note(self, method: str, path: str) -> Reply:
        with self._lock:
            count = self.seen[path]
            self.requests.append((method, path, time.monotonic()))
        answer = self.paths.get(path, Reply(status=404))
        return answer if isinstance(answer, Reply) else answer(count)

    def busy(self) -> "_Busy":
        return _Busy(self)

    def handle_error(self, *args: object) -> None:
        """Clients that hang up are what is tested."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Busy:
    def __init__(self, server: PhotoServer) -> None:
        self.server = server

    def __enter__(self) -> None:
        with self.server._lock:
            self.server._now += 1
            self.server.most = max(self.server.most, self.server._now)

    def __exit__(self, *_: object) -> None:
        with self.server._lock:
            self.server._now -= 1
