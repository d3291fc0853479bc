"""`make screenshots`: takes the pictures of docs/images from a real server, a real browser and a spoken take."""

import re
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.chromium import chromium
from tests.page import SPEECH
from tests.server import LiveServer

IMAGES = Path(__file__).parent / "images"
MICROPHONE = SPEECH / "01_kitchen.joe.wav"
SECONDS = 24


def shot(page: Page, name: str) -> None:
    page.wait_for_timeout(400)
    page.screenshot(path=IMAGES / f"{name}.png")


def join(page: Page, link: str, name: str, suffix: str) -> None:
    page.goto(link)
    page.get_by_label("Your name").fill(name)
    shot(page, f"join{suffix}")
    page.get_by_label("I have read this and agree").check()
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("img", name="The image to describe")).to_be_visible()


def annotator(browser: BrowserContext, server: LiveServer, suffix: str) -> None:
    """The road of one annotator, from the link to the submitted words."""
    page = browser.pages[0]
    join(page, server.invite(campaign="demo"), "Speaker", suffix)
    shot(page, f"task{suffix}")
    page.goto(server.url)
    expect(page.get_by_role("link", name=re.compile("Start|Continue"))).to_be_visible()
    shot(page, f"home{suffix}")
    page.goto(f"{server.url}/c/demo")
    expect(page.get_by_role("img", name="The image to describe")).to_be_visible()
    page.wait_for_timeout(500)
    page.keyboard.press("r")
    page.keyboard.press("1")
    page.keyboard.press("2")
    page.wait_for_timeout(SECONDS * 500)
    shot(page, f"recording{suffix}")
    page.wait_for_timeout(SECONDS * 500)
    page.keyboard.press("s")
    word = page.get_by_role("button", name="kitchen", exact=True)
    expect(word.first).to_be_visible(timeout=180_000)
    shot(page, f"review{suffix}")
    page.keyboard.press("?")
    shot(page, f"keys{suffix}")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    shot(page, f"saved{suffix}")


def admin(browser: BrowserContext, server: LiveServer, suffix: str) -> None:
    page = browser.pages[0]
    page.goto(server.invite("admin"))
    page.get_by_label("Your name").fill("Admin")
    page.get_by_label("E-mail").fill(f"admin{suffix}@example.org")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_label("I have read this and agree").check()
    page.get_by_role("button", name="Join").click()
    page.get_by_role("link", name="Admin").click()
    expect(page.get_by_text("demo").first).to_be_visible()
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / f"admin{suffix}.png", full_page=True)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = LiveServer(Path(folder) / "store")
        server.prepare()
        server.start()
        try:
            looks: list[tuple[str, int, int, Literal["light", "dark"]]] = [
                ("", 1280, 800, "light"),
                ("-dark", 1280, 800, "dark"),
                ("-phone", 390, 844, "light"),
            ]
            for suffix, width, height, scheme in looks:
                profile = Path(folder) / f"profile{suffix}"
                with chromium(playwright, profile, MICROPHONE, width=width, height=height, scheme=scheme) as browser:
                    annotator(browser, server, suffix)
                with chromium(
                    playwright, profile / "admin", MICROPHONE, width=width, height=height, scheme=scheme
                ) as browser:
                    admin(browser, server, suffix)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
