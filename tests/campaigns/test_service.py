"""Campaigns: PixMo's defaults, and nothing that cannot work."""

from typing import Any

import pytest
from sqlalchemy import select

from pixmo.accounts.models import AuditEvent
from pixmo.campaigns import service
from pixmo.campaigns.models import CampaignStatus
from pixmo.campaigns.service import CampaignDraft
from pixmo.database import Database
from pixmo.errors import Unprocessable

SEVEN = [
    "What is the image at first glance?",
    "What are the objects and their counts?",
    "What does the text say?",
    "What are the positions of the objects?",
    "What subtle details are noticeable?",
    "What is in the background?",
    "What is the style and color?",
]


def test_the_seven_questions_word_for_word(db: Database) -> None:
    with db.write() as session:
        campaign = service.create(session, CampaignDraft("street"))
    assert [question["text"] for question in campaign.questions] == SEVEN
    assert [question["id"] for question in campaign.questions] == [f"q{number}" for number in range(1, 8)]


@pytest.mark.parametrize(("overlap", "seconds"), [(1, 90), (2, 60), (3, 60)])
def test_one_person_speaks_longer_than_several(db: Database, overlap: int, seconds: int) -> None:
    with db.write() as session:
        assert service.create(session, CampaignDraft("street", overlap=overlap)).min_voiced_seconds == seconds


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": "Street"}, {"name": "a b"}, {"name": "../x"}, {"name": "x" * 65}, {"name": "-x"},
        {"overlap": 0}, {"overlap": 21}, {"min_voiced_seconds": -1}, {"min_voiced_seconds": 601},
        {"max_seconds": 3601}, {"questions": []}, {"language": "English"}, {"language": ""},
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(db: Database, change: dict[str, Any]) -> None:
    with db.write() as session, pytest.raises(Unprocessable):
        service.create(session, CampaignDraft(**({"name": "street"} | change)))


def test_a_name_is_used_once(db: Database) -> None:
    with db.write() as session:
        service.create(session, CampaignDraft("street"))
        with pytest.raises(service.NameTaken, match="Choose another"):
            service.create(session, CampaignDraft("street"))


def test_an_unknown_name_lists_the_known_ones(db: Database) -> None:
    with db.write() as session:
        with pytest.raises(service.NoSuchCampaign, match="pixmo campaign create"):
            service.by_name(session, "beach")
        service.create(session, CampaignDraft("street"))
        with pytest.raises(service.NoSuchCampaign, match="There are: street"):
            service.by_name(session, "beach")


def test_an_edit_changes_what_is_given_and_keeps_what_was(db: Database) -> None:
    with db.write() as session:
        service.create(session, CampaignDraft("street"))
        service.edit(session, "street", questions=["What is new?"], min_voiced_seconds=75)
        service.edit(session, "street", min_voiced_seconds=75)
        campaign = service.by_name(session, "street")
        assert [question["text"] for question in campaign.questions] == ["What is new?"]
        assert campaign.min_voiced_seconds == 75
        for impossible in ({"questions": []}, {"min_voiced_seconds": 1e6}):
            with pytest.raises(Unprocessable):
                service.edit(session, "street", **impossible)  # type: ignore[arg-type]
    with db.read() as session:
        edits = session.scalars(select(AuditEvent.detail).where(AuditEvent.action == "campaign.edited")).all()
    assert [question["text"] for question in edits[0]["before"]["questions"]] == SEVEN
    assert (len(edits), edits[0]["before"]["min_voiced_seconds"]) == (1, 90)


def test_changes_of_status_leave_a_trail(db: Database) -> None:
    with db.write() as session:
        service.create(session, CampaignDraft("street"))
        for status in (CampaignStatus.paused, CampaignStatus.paused, CampaignStatus.active, CampaignStatus.closed):
            service.set_status(session, "street", status)
    with db.read() as session:
        actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert actions == ["campaign.created", "campaign.paused", "campaign.active", "campaign.closed"]
