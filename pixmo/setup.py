"""Making a store, and filling it for a first look."""

import os

from sqlalchemy import select

from pixmo import schema
from pixmo.accounts import service as accounts
from pixmo.accounts.models import Role, User
from pixmo.campaigns import service as campaigns
from pixmo.campaigns.models import Campaign
from pixmo.context import Context
from pixmo.images.models import Image
from pixmo.settings import Settings
from pixmo.tasks import service as tasks

DEMO = campaigns.CampaignDraft(
    name="demo",
    title="Describe the picture",
    min_voiced_seconds=20,
    instructions="This is a demonstration: twenty seconds of speech are enough. In a real campaign it is 60 to 90.\n\n"
    + campaigns.INSTRUCTIONS,
)


def prepare(settings: Settings) -> bool:
    """Make the store or bring it to the newest form; says whether it was made just now."""
    folder = settings.store_dir
    new = not (folder / "pixmo.db").exists() if settings.database_url is None else not (folder / "blobs").exists()
    folder.mkdir(parents=True, exist_ok=True)
    os.chmod(folder, 0o700)  # noqa: PTH101 - speech is personal data
    (folder / "blobs").mkdir(exist_ok=True)
    schema.upgrade(settings.database)
    return new


def has_admin(context: Context) -> bool:
    """Whether anybody can administrate the store."""
    with context.db.read() as session:
        return session.scalar(select(User.id).where(User.role == Role.admin).limit(1)) is not None


def admin_link(context: Context) -> str:
    """A new invite link for an admin."""
    return _link(context, Role.admin, None)


def demo_link(context: Context) -> str:
    """A new invite link for an annotator of the demo campaign."""
    return _link(context, Role.annotator, DEMO.name)


def _link(context: Context, role: Role, campaign: str | None) -> str:
    with context.db.write() as session:
        _, token = accounts.create_invite(session, days=context.settings.invite_days, role=role, campaign=campaign)
    return accounts.join_link(context.settings, token)


def load_demo(context: Context) -> None:
    """Load the demo images and their campaign, once."""
    from pixmo.images.demo import load_demo_images

    load_demo_images(context.db, context.storage)
    with context.db.write() as session:
        campaign = session.scalar(select(Campaign).where(Campaign.name == DEMO.name))
        if campaign is None:
            campaign = campaigns.create(session, DEMO)
        tasks.create(session, campaign, session.scalars(select(Image.id).order_by(Image.created_at)))
