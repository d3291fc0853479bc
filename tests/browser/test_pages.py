"""Every page: by invite, with axe in light and dark, on a telephone, over plain http."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Launch, Open, join, listening_to, speak
from tests.server import LiveServer

AXE = Path(__file__).parents[2] / "annotation_ui/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def problems(page: Page) -> list[str]:
    """What axe finds on the page as it is now, with the places."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate(
        "rules => axe.run(document, {runOnly: rules}).then(result => result.violations)", RULES
    )
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]


def test_join_by_invite_works_once(live_server: LiveServer, open_page: Open) -> None:
    link = live_server.invite(campaign="demo")
    page = open_page()
    join(page, link)
    expect(page.get_by_role("button", name="Record")).to_be_visible()
    assert page.url == f"{live_server.url}/c/demo"

    other = open_page()
    other.goto(link)
    expect(other.get_by_role("alert")).to_contain_text("was used already")
    other.goto(f"{live_server.url}/join#nonsense")
    expect(other.get_by_role("alert")).to_contain_text("not known here")


def test_sign_in_with_a_password_and_out(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    join(page, live_server.invite("reviewer"))
    page.goto(f"{live_server.url}/admin")
    expect(page.get_by_text("changes need an admin")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{live_server.url}/login")

    page.get_by_label("E-mail").fill("listener@example.org")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    page.get_by_label("Password").fill("long enough")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Hello, Listener")).to_be_visible()


def test_an_admin_invites_somebody(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    join(page, live_server.invite("admin"))
    page.get_by_role("link", name="Admin").click()
    page.get_by_role("combobox", name="Campaign").select_option("demo")
    page.get_by_role("button", name="Create link").click()
    link = page.get_by_label("Send this link").input_value()
    guest = open_page()
    join(guest, link, "Sasha")
    page.reload()
    expect(page.get_by_role("cell", name="used")).to_have_count(2)
    expect(page.get_by_role("rowheader", name="Sasha")).to_be_visible()


def test_the_chosen_language_stays(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    join(page, live_server.invite(campaign="demo"))
    with page.expect_response(lambda response: response.request.method == "PATCH") as saved:
        page.get_by_label("Language").select_option("de")
    assert saved.value.json()["user"]["locale"] == "de"
    expect(page.get_by_text("Drücke R oder den Knopf")).to_be_visible()
    page.evaluate("localStorage.clear()")
    page.reload()
    expect(page.get_by_text("Drücke R oder den Knopf")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "de")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(live_server: LiveServer, open_page: Open, scheme: Literal["light", "dark"]) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    found: dict[str, list[str]] = {}

    page.goto(f"{live_server.url}/login")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    found["login"] = problems(page)
    link = live_server.invite("admin", campaign="demo")
    page.goto(link)
    page.get_by_label("Your name").wait_for()
    found["join"] = problems(page)
    join(page, link)
    page.get_by_role("button", name="Record").wait_for()
    found["task"] = problems(page)
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    found["shortcuts"] = problems(page)
    page.keyboard.press("Escape")
    page.keyboard.press("k")
    page.get_by_role("dialog").wait_for()
    found["skip"] = problems(page)
    page.keyboard.press("Escape")
    speak(page, 3)
    found["recording"] = problems(page)
    page.keyboard.press("s")
    page.get_by_text("The words come in a moment").wait_for()
    found["waiting"] = problems(page)
    page.goto(live_server.url)
    page.get_by_role("link", name="Start").wait_for()
    found["home"] = problems(page)
    page.goto(f"{live_server.url}/admin")
    page.get_by_role("heading", name="Latest captions").wait_for()
    found["admin"] = problems(page)

    assert {name: faults for name, faults in found.items() if faults} == {}


def test_a_telephone_shows_everything_without_scrolling_sideways(live_server: LiveServer, open_page: Open) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    sideways = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    wide: dict[str, bool] = {}
    link = live_server.invite("admin", campaign="demo")
    page.goto(link)
    page.get_by_label("Your name").wait_for()
    wide["join"] = page.evaluate(sideways)
    join(page, link)
    record = page.get_by_role("button", name="Record")
    record.wait_for()
    wide["task"] = page.evaluate(sideways)
    record.tap()
    finish = page.get_by_role("button", name="Finish")
    finish.wait_for()
    wide["recording"] = page.evaluate(sideways)
    place = finish.bounding_box()
    assert place is not None
    assert place["y"] > 370, "within reach of a thumb"
    assert place["y"] + place["height"] <= 740
    for name, path, ready in (("home", "/", "Start"), ("admin", "/admin", "Create link")):
        page.goto(live_server.url + path)
        if page.get_by_role("dialog").is_visible():
            page.get_by_role("button", name="Leave").click()
        page.get_by_text(ready, exact=True).wait_for()
        wide[name] = page.evaluate(sideways)
    assert [name for name, is_wide in wide.items() if is_wide] == []


def test_plain_http_says_why_there_is_no_microphone(server: LiveServer, launch: Launch, open_page: Open) -> None:
    address = f"http://example.test:{server.port}"
    server.environment["PIXMO_PUBLIC_URL"] = address
    server.start()
    browser = launch("--host-resolver-rules=MAP example.test 127.0.0.1")
    page = open_page(browser)
    join(page, server.invite(campaign="demo").replace(server.url, address))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("may not use the microphone")
    expect(alert).to_contain_text("pixmo serve --tls-cert")
    expect(alert).to_contain_text(f"localhost:{server.port} example.test")
    expect(page.get_by_role("button", name="Record")).to_have_count(0)
    assert problems(page) == []


def test_a_forbidden_microphone_says_what_to_do(live_server: LiveServer, launch: Launch, open_page: Open) -> None:
    page = open_page(launch("--use-fake-device-for-media-stream"))
    join(page, live_server.invite(campaign="demo"))
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("alert")).to_contain_text("The microphone is blocked")
    page.context.grant_permissions(["microphone"])
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("button", name="Finish")).to_be_visible()


def test_a_silent_microphone_is_noticed_within_two_seconds(
    live_server: LiveServer, launch: Launch, open_page: Open, sounds: Path
) -> None:
    page = open_page(launch(*listening_to(sounds / "silence.wav")))
    join(page, live_server.invite(campaign="demo"))
    page.evaluate(
        """() => new MutationObserver(() => {
            if (document.querySelector('.record.recording')) window.began ??= performance.now();
            if (document.body.textContent.includes('We cannot hear you')) window.told ??= performance.now();
        }).observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true})"""
    )
    page.get_by_role("button", name="Record").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("We cannot hear you")
    expect(alert).to_contain_text("Fake")
    expect(alert.get_by_label("Microphone")).to_be_visible()
    waited = page.evaluate("window.told - window.began") / 1000
    assert waited < 2
