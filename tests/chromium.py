"""A real Chromium whose microphone is a WAV file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from playwright.sync_api import BrowserContext, Error, Playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def executable() -> str:
    """Path of the system's Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise FileNotFoundError("The tests need Chromium: install it, or run make test, which does so where it may.")


@contextmanager
def chromium(
    playwright: Playwright,
    profile: Path,
    microphone: Path,
    *,
    width: int = 1280,
    height: int = 800,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[BrowserContext]:
    """A browser with a profile folder that survives it, hearing `microphone` once."""
    context = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=executable(),
        args=[*FLAGS, f"--use-file-for-fake-audio-capture={microphone.resolve()}%noloop"],
        viewport={"width": width, "height": height},
        locale="en-GB",
        color_scheme=scheme,
    )
    try:
        yield context
    finally:
        with suppress(Error):  # a test may have killed it
            context.close()
