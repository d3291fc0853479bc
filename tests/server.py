"""A real `pixmo serve` process for tests, to be killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from pixmo import setup
from pixmo.accounts import service as accounts
from pixmo.accounts.models import Role
from pixmo.context import Context
from pixmo.settings import Settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class LiveServer:
    """A store in `data_dir` and the server that works on it, with `workers` worker processes."""

    data_dir: Path
    workers: int = 1
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def settings(self) -> Settings:
        return Settings(data_dir=self.data_dir, port=self.port, public_url=self.url)

    @property
    def log(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def prepare(self) -> None:
        """Make the store with the demo images and their campaign."""
        setup.prepare(self.settings)
        with self.context() as context:
            setup.load_demo(context)

    def context(self) -> "OpenContext":
        """The store, opened beside the server: `with server.context() as context`."""
        return OpenContext(self.settings)

    def invite(self, role: str = "annotator", campaign: str | None = None) -> str:
        """A new invite link."""
        with self.context() as context, context.db.write() as session:
            _, token = accounts.create_invite(session, days=1, role=Role(role), campaign=campaign)
            return accounts.join_link(self.settings, token)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pixmo", "serve", "--port", str(self.port), "--workers", str(self.workers)],
                env=os.environ
                | {"PIXMO_DATA_DIR": str(self.data_dir), "PIXMO_PUBLIC_URL": self.url}
                | self.environment,
                cwd=self.data_dir,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{self.url}/healthz", timeout=1)
                return
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.05)

    def pixmo(self, *arguments: str) -> str:
        """Run a `pixmo` command on the store; what it printed. Fails if it does."""
        done = subprocess.run(
            [sys.executable, "-m", "pixmo", *arguments],
            env=os.environ | {"PIXMO_DATA_DIR": str(self.data_dir)} | self.environment,
            cwd=self.data_dir, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self) -> None:
        """kill -9 of the server; its workers notice and end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """End the server in good order."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None


class OpenContext:
    """A context manager around `Context.open`."""

    def __init__(self, settings: Settings) -> None:
        self.opened = Context.open(settings)

    def __enter__(self) -> Context:
        return self.opened

    def __exit__(self, *_: object) -> None:
        self.opened.close()
