"""The whole first road with a browser: somebody speaks for over a minute, and their words come out as a data set."""

import re
from pathlib import Path

import datasets
import jiwer
import pytest
from playwright.sync_api import Playwright, expect
from sqlalchemy import select

from pixmo.captions.models import Caption
from pixmo.jobs import wait_for_jobs
from pixmo.recordings.models import Recording
from pixmo.transcripts.models import Transcript
from tests.chromium import chromium
from tests.page import SPEECH
from tests.server import LiveServer

SPOKEN = (SPEECH / "01_kitchen.txt").read_text("utf-8")
KEY_NOUNS = ("kitchen", "apples", "bananas", "orange", "mug", "toaster", "spoons", "window")
TAKE_SECONDS = 66.0


def plain(text: str) -> str:
    numbers = {
        str(number): word
        for number, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"])
    }
    words = re.sub(r"[^a-z0-9 ]+", " ", text.lower()).split()
    return " ".join(numbers.get(word, word) for word in words)


@pytest.mark.timeout(600)
def test_speak_check_submit_export_load(live_server: LiveServer, playwright: Playwright, tmp_path: Path) -> None:
    microphone = SPEECH / "01_kitchen.joe.wav"
    with chromium(playwright, tmp_path / "profile", microphone) as browser:
        page = browser.pages[0]
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(live_server.invite(campaign="demo"))
        page.get_by_label("Your name").fill("Speaker")
        page.get_by_label("I have read this and agree").check()
        page.get_by_role("button", name="Join").click()
        expect(page.get_by_role("img", name="The image to describe")).to_be_visible()

        page.keyboard.press("r")
        expect(page.get_by_role("button", name="Finish")).to_be_enabled()
        page.keyboard.press("1")
        page.wait_for_timeout((TAKE_SECONDS + 1) * 1000)
        page.keyboard.press("s")
        words = page.get_by_role("button", name="kitchen", exact=True)
        expect(words.first).to_be_visible(timeout=120_000)
        page.get_by_role("button", name=re.compile("^Submit")).click()
        expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
        assert problems == []

    with live_server.context() as context:
        counts = wait_for_jobs(context, seconds=60)
        assert counts == {"transcribe": {"done": 1}, "caption": {"done": 1}}
        with context.db.read() as session:
            recording = session.scalars(select(Recording)).one()
            transcript = session.scalars(select(Transcript)).one()
            caption = session.scalars(select(Caption)).one()
    assert recording.duration == pytest.approx(TAKE_SECONDS, abs=3)
    assert recording.voiced is not None
    assert recording.voiced > 40
    assert jiwer.wer(plain(SPOKEN), plain(transcript.text)) < 0.25
    assert [noun for noun in KEY_NOUNS if noun not in plain(transcript.text)] == []

    live_server.pixmo("export", "cap", "--licence", "odc-by")
    folder = str(live_server.data_dir / "exports" / "cap@1.0.0")
    published = datasets.load_dataset(folder, cache_dir=str(tmp_path / "cache"))
    (rows,) = published.values()  # one row, in the split of its image
    assert rows.column_names == ["image_url", "caption", "transcripts"]
    assert rows[0]["caption"] == caption.text
    assert rows[0]["transcripts"] == [transcript.text]
    (enriched,) = datasets.load_dataset(folder, "enriched", streaming=True).values()
    streamed = next(iter(enriched))
    assert streamed["caption"] == caption.text
    assert streamed["image"].size[0] > 100
    assert "is whole" in live_server.pixmo("verify", "cap@1.0.0")
