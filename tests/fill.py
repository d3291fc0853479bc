"""Rows for tests: people, images and campaigns without the ways by which they usually come."""

import hashlib

from pixmo.accounts.consent import VERSION
from pixmo.accounts.models import Role, User
from pixmo.accounts.service import give_consent
from pixmo.campaigns import service as campaigns
from pixmo.campaigns.models import Campaign
from pixmo.database import WriteSession
from pixmo.images.models import Image
from pixmo.tasks import service as tasks


def people(session: WriteSession, number: int, role: Role = Role.annotator) -> list[str]:
    """Ids of `number` new people who agreed to be recorded."""
    users = [User(role=role, display_name=f"{role.value} {index}") for index in range(number)]
    session.add_all(users)
    session.flush()
    for user in users:
        give_consent(session, user.id, VERSION, "en")
    return [user.id for user in users]


def images(session: WriteSession, number: int) -> list[str]:
    """Ids of `number` new images that have no bytes."""
    rows = []
    for index in range(number):
        digest = hashlib.sha256(f"image {index}".encode()).hexdigest()
        row = Image(
            sha256=digest, pixel_sha256=digest, format="jpeg", width=640, height=480, byte_size=1000,
            served_sha256=digest, served_format="jpeg", web_sha256=digest, thumb_sha256=digest, pdq=digest,
            pdq_quality=100, cluster_id="", licence="CC0", attribution="made for a test",
        )  # fmt: skip
        session.add(row)
        session.flush()
        row.cluster_id = row.id
        rows.append(row)
    session.flush()
    return [row.id for row in rows]


def campaign(
    session: WriteSession, number: int, *, name: str = "street", overlap: int = 1, min_voiced_seconds: float = 0,
    min_words: int = 1, language: str = "en",
) -> Campaign:  # fmt: skip
    """A describe campaign of `number` new images."""
    made = campaigns.create(
        session,
        campaigns.CampaignDraft(
            name, overlap=overlap, min_voiced_seconds=min_voiced_seconds, min_words=min_words, language=language
        ),
    )
    tasks.create(session, made, images(session, number), seed=7)
    return made
