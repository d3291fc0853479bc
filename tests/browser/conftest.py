"""A real Chromium with a WAV file as its microphone, and a pixmo server without workers unless a test asks for one."""

import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright
from sqlalchemy import update

from pixmo.campaigns.models import Campaign
from tests.chromium import FLAGS, executable
from tests.page import SPEECH
from tests.server import LiveServer

WITHOUT_MICROPHONE = [flag for flag in FLAGS if "fake" not in flag]

Launch = Callable[..., Browser]
Open = Callable[..., Page]


def listening_to(sound: Path) -> list[str]:
    """The flags that make `sound` the microphone: played once from the moment it is opened, then silence."""
    return [*FLAGS, f"--use-file-for-fake-audio-capture={sound}%noloop"]


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `speech.wav` (20 s of a spoken description) and `silence.wav` (20 s of nothing at all)."""
    folder = tmp_path_factory.mktemp("sounds")
    with wave.open(str(SPEECH / "01_kitchen.joe.wav"), "rb") as source:
        shape = source.getparams()
        frames = source.readframes(20 * shape.framerate)
    for name, content in (("speech.wav", frames), ("silence.wav", bytes(len(frames)))):
        with wave.open(str(folder / name), "wb") as target:
            target.setparams(shape)
            target.writeframes(content)
    return folder


@pytest.fixture
def server(server: LiveServer) -> LiveServer:
    """The demo store, asking for two seconds of speech, so that short takes will do; no worker transcribes."""
    server.workers = 0
    with server.context() as context, context.db.write() as session:
        session.execute(update(Campaign).values(min_voiced_seconds=2, min_words=3))
    return server


@pytest.fixture(scope="session")
def _shared_browser(playwright: Playwright, sounds: Path) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=executable(), args=listening_to(sounds / "speech.wav"))
    yield browser
    browser.close()


@pytest.fixture
def launch(playwright: Playwright) -> Iterator[Launch]:
    """Start a browser with flags of its own, by default without a microphone."""
    with ExitStack() as stack:

        def start(*flags: str) -> Browser:
            browser = playwright.chromium.launch(executable_path=executable(), args=[*WITHOUT_MICROPHONE, *flags])
            stack.callback(browser.close)
            return browser

        yield start


@pytest.fixture
def open_page(_shared_browser: Browser) -> Iterator[Open]:
    """Open a page of a person who has never been here, in a browser that hears the spoken description."""
    with ExitStack() as stack:

        def start(browser: Browser = _shared_browser, **options: Any) -> Page:
            options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB"} | options
            context = browser.new_context(**options)
            stack.callback(context.close)
            return watched(context)

        yield start


def watched(context: BrowserContext) -> Page:
    """A new page on which an error in a script is an error of the test."""

    def fail(error: Exception) -> None:
        raise AssertionError(f"a script of the page failed: {error}")

    page = context.new_page()
    page.on("pageerror", fail)
    return page


def join(page: Page, link: str, name: str = "Listener") -> None:
    """Accept an invite. Admins and reviewers get the e-mail listener@example.org and the password "long enough"."""
    page.goto(link)
    page.get_by_label("Your name").fill(name)
    if page.get_by_label("E-mail", exact=True).is_visible():
        page.get_by_label("E-mail", exact=True).fill("listener@example.org")
        page.get_by_label("Password", exact=True).fill("long enough")
    page.get_by_label("I have read this and agree").check()
    page.get_by_role("button", name="Join").click()
    page.wait_for_url(lambda url: "/join" not in url, wait_until="commit")


def speak(page: Page, seconds: float) -> None:
    """Record, by keyboard, until `seconds` of the take have passed; the take goes on."""
    page.get_by_role("button", name="Record").wait_for()
    page.keyboard.press("r")
    page.get_by_role("button", name="Finish").wait_for()
    page.wait_for_function(
        "seconds => { const [minutes, rest] = (document.querySelector('.total')?.textContent.match(/\\d+:\\d+/)?.[0]"
        " ?? '0:0').split(':'); return 60 * minutes + Number(rest) >= seconds }",
        arg=seconds,
    )
