"""A day's work by keyboard alone, with the real speech recognition, and how fast the next image comes."""

import re

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import Open, join, speak
from tests.server import LiveServer


@pytest.fixture
def server(server: LiveServer) -> LiveServer:
    server.workers = 1
    return server


def test_by_keyboard_from_the_invite_to_the_next_image(
    live_server: LiveServer, open_page: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_page()
    keyboard = page.keyboard

    page.goto(live_server.invite(campaign="demo"))
    page.get_by_label("Your name").focus()
    keyboard.type("Listener")
    for _ in range(2):
        keyboard.press("Tab")
    expect(page.get_by_label("I have read this and agree")).to_be_focused()
    keyboard.press("Space")
    keyboard.press("Enter")
    page.get_by_role("button", name="Record").wait_for()

    keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    zoom = page.get_by_role("button", name="Fit,")
    fitted = zoom.inner_text()
    keyboard.press("+")
    keyboard.press("ArrowLeft")
    expect(zoom).not_to_have_text(fitted)
    keyboard.press("0")
    expect(zoom).to_have_text(fitted)

    speak(page, 2)
    keyboard.press("1")
    keyboard.press("3")
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    keyboard.press("Space")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_text("Go on if there is more to say").first).to_be_visible(timeout=20_000)
    page.wait_for_timeout(3000)
    keyboard.press("s")

    words = page.get_by_role("group", name="Your words")
    words.wait_for(timeout=60_000)
    expect(words).to_contain_text("kitchen")
    keyboard.press("p")
    expect(words.locator(".now")).to_have_count(1)
    keyboard.press("p")
    keyboard.press("e")
    editor = page.get_by_role("textbox", name="Transcript")
    expect(editor).to_be_focused()
    keyboard.press("ControlOrMeta+A")
    keyboard.type("A corrected description of k, r and s.")
    keyboard.press("Escape")
    expect(words).to_have_text("A corrected description of k, r and s.")

    expect(page.get_by_text("All speech saved")).to_be_visible()
    images: list[str] = []

    def note(request: Request) -> None:
        if request.resource_type == "image":
            images.append(request.url)

    shown = page.locator(".picture img").get_attribute("src")
    page.wait_for_load_state("networkidle")
    page.on("request", note)
    keyboard.press("ControlOrMeta+Enter")
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    following = page.locator(".picture img").get_attribute("src")
    assert following != shown
    assert following is not None
    assert not any(url.endswith(following) for url in images), "the next image was there before it was needed"
    marks = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('mark').map(one => [one.name, one.startTime]))"
    )
    milliseconds = marks["pixmo:image-shown"] - marks["pixmo:submit"]
    with capsys.disabled():
        print(f"\nfrom submit to the next image: {milliseconds:.0f} ms")
    assert milliseconds > 0

    keyboard.press("u")
    expect(words).to_have_text("A corrected description of k, r and s.")
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    keyboard.press("ControlOrMeta+Enter")
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    keyboard.press("k")
    keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Skipped.")).to_be_visible()
    keyboard.press("h")
    expect(page.get_by_text(re.compile("1 done by you"))).to_be_visible()


def test_keys_rest_while_typing(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    join(page, live_server.invite(campaign="demo"))
    page.get_by_role("button", name="Record").wait_for()
    page.keyboard.press("k")
    page.get_by_label("Note (optional)").fill("")
    page.keyboard.type("rs1x?")
    expect(page.get_by_label("Note (optional)")).to_have_value("rs1x?")
    expect(page.get_by_role("button", name="Finish")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(1)
