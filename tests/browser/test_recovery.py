"""What was said is not lost: the browser is killed, the page reloaded, the server killed, the network cut."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Page, Playwright, expect
from sqlalchemy import select, update

from pixmo.campaigns.models import Campaign
from pixmo.recordings.models import Recording, RecordingState
from tests.browser.conftest import Open, join, speak
from tests.chromium import chromium
from tests.server import LiveServer


def takes(server: LiveServer) -> list[Recording]:
    with server.context() as context, context.db.read() as session:
        found = list(session.scalars(select(Recording).order_by(Recording.id)))
        session.expunge_all()
        return found


def wait_for(server: LiveServer, *states: RecordingState) -> list[Recording]:
    """The takes, oldest first, once they are in these states."""
    end = time.monotonic() + 20
    while tuple(take.state for take in takes(server)) != states:
        assert time.monotonic() < end, f"the takes are {[take.state for take in takes(server)]}"
        time.sleep(0.1)
    return takes(server)


def finished(server: LiveServer) -> Recording:
    """The only take, once the server has it whole."""
    return wait_for(server, RecordingState.finished)[0]


def shown_seconds(page: Page) -> int:
    """The whole seconds of recording that the page shows."""
    minutes, seconds = page.locator(".total").inner_text().removesuffix(" recorded").split()[-1].split(":")
    return 60 * int(minutes) + int(seconds)


def processes_of(profile: Path) -> list[int]:
    """Ids of every process of the browser that works in `profile`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"--user-data-dir={profile}".encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def kill_processes_of(profile: Path) -> None:
    """kill -9 of the browser that works in `profile`, until nothing is left of it."""
    end = time.monotonic() + 20
    while running := processes_of(profile):
        assert time.monotonic() < end, f"{running} cannot be killed"
        for process in running:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)


def test_a_killed_browser_loses_at_most_a_second(
    live_server: LiveServer, playwright: Playwright, tmp_path: Path, sounds: Path
) -> None:
    profile, speech = tmp_path / "profile", sounds / "speech.wav"
    with chromium(playwright, profile, speech) as browser:
        join(browser.pages[0], live_server.invite(campaign="demo"))

    with chromium(playwright, profile, speech) as browser:
        page = browser.pages[0]
        page.goto(f"{live_server.url}/c/demo")
        speak(page, 5)
        heard = shown_seconds(page)
        kill_processes_of(profile)

    with chromium(playwright, profile, speech) as browser:
        page = browser.pages[0]
        page.goto(f"{live_server.url}/c/demo")
        expect(page.get_by_text("Recovered take:")).to_be_visible(timeout=20_000)
        take = finished(live_server)
        assert take.duration is not None
        assert take.duration >= heard - 1
        page.get_by_role("button", name="Keep it").click()
        expect(page.get_by_text("Recovered take:")).to_have_count(0)
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_a_reload_keeps_the_take(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    join(page, live_server.invite(campaign="demo"))
    speak(page, 4)
    page.reload()
    expect(page.get_by_text("Recovered take:")).to_be_visible(timeout=20_000)
    assert (finished(live_server).duration or 0) >= 3
    expect(page.get_by_text("All speech saved")).to_be_visible()


def test_a_recovered_take_that_is_too_short_is_recorded_again(live_server: LiveServer, open_page: Open) -> None:
    with live_server.context() as context, context.db.write() as session:
        session.execute(update(Campaign).values(min_voiced_seconds=60))
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    join(page, live_server.invite(campaign="demo"))
    speak(page, 1)
    page.reload()
    expect(page.get_by_text("It is too short")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Record again").click()
    expect(page.get_by_role("button", name="Finish")).to_be_visible()
    wait_for(live_server, RecordingState.discarded, RecordingState.open)


def test_a_server_killed_before_the_finish_gets_it_all_when_it_is_back(
    live_server: LiveServer, open_page: Open
) -> None:
    page = open_page()
    join(page, live_server.invite(campaign="demo"))
    speak(page, 3)
    live_server.kill()
    page.wait_for_timeout(2500)
    expect(page.get_by_text("waiting for connection")).to_be_visible()
    heard = shown_seconds(page)
    page.keyboard.press("s")
    expect(page.get_by_text("The last seconds are still on their way")).to_be_visible()
    live_server.start()
    expect(page.get_by_text("All speech saved")).to_be_visible(timeout=30_000)
    take = finished(live_server)
    assert take.duration is not None
    assert heard <= take.duration <= heard + 2


def test_hours_without_a_network_and_a_closed_page_lose_nothing(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    join(page, live_server.invite(campaign="demo"))
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    speak(page, 4)
    page.keyboard.press("s")
    expect(page.get_by_text("The last seconds are still on their way")).to_be_visible()
    page.close(run_before_unload=False)
    assert takes(live_server) == []

    later = page.context.new_page()
    page.context.set_offline(False)
    later.goto(live_server.url)
    take = finished(live_server)
    assert (take.duration or 0) >= 4
    later.goto(f"{live_server.url}/c/demo")
    expect(later.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_a_second_tab_leaves_a_running_take_alone(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    join(page, live_server.invite(campaign="demo"))
    speak(page, 2)
    other = page.context.new_page()
    other.goto(live_server.url)
    expect(other.get_by_role("heading", name="Hello")).to_be_visible()
    page.wait_for_timeout(1500)
    assert [take.state for take in takes(live_server)] == [RecordingState.open]
    page.bring_to_front()
    page.keyboard.press("s")
    assert finished(live_server).duration is not None


def test_leaving_while_recording_asks_and_keeps_the_take(live_server: LiveServer, open_page: Open) -> None:
    page = open_page()
    join(page, live_server.invite(campaign="demo"))
    speak(page, 3)
    page.keyboard.press("h")
    page.get_by_role("button", name="Stay").click()
    expect(page.get_by_role("button", name="Finish")).to_be_visible()
    page.get_by_role("link", name="Home", exact=True).click()
    page.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    assert (finished(live_server).duration or 0) >= 3
    page.get_by_role("link", name="Start").click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
