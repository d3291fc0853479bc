"""`pixmo serve`: the server, with its workers as child processes.

Workers are processes of their own even in the embedded default: loading a speech model would stop the server's
answers for seconds, and a crash in native code must not end somebody's take.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from pixmo.app import create_app
from pixmo.errors import SetupError
from pixmo.settings import Settings

RESTART_SECONDS = (1, 2, 5, 15, 60)
STEADY_SECONDS = 60


@dataclass
class Workers:
    """Child processes that are started again when they end, more slowly if they end at once."""

    number: int
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for index in range(self.number):
            thread = threading.Thread(target=self._supervise, name=f"pixmo-worker-{index}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the workers; each finishes the job in hand."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _supervise(self) -> None:
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            command = [sys.executable, "-m", "pixmo", "worker", "--parent", str(os.getpid())]
            with subprocess.Popen(command) as process:
                while process.poll() is None and not self._stop.wait(0.2):
                    pass
                if process.poll() is None:
                    process.terminate()
                    return
            failures = 0 if time.monotonic() - started > STEADY_SECONDS else failures + 1
            self._stop.wait(RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)])


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `SetupError` if the address is in use or not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise SetupError(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --port.") from None
    return listening


def serve(
    settings: Settings,
    *,
    workers: int,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until interrupted. `ready` is called when the address is ours, before the workers start.

    Raises `SetupError` if there is no store or the address cannot be had.
    """
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
        timeout_graceful_shutdown=5,
        server_header=False,
        proxy_headers=settings.public_url is not None,
    )
    server = uvicorn.Server(config)
    listening = _listen(settings.host, settings.port)
    ready()
    children = Workers(workers)
    children.start()
    try:
        server.run(sockets=[listening])
    finally:
        children.stop()
