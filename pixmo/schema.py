"""All tables, imported in the order the data flows, and their migration to the newest form."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from pixmo import jobs
from pixmo.accounts import models as accounts
from pixmo.campaigns import models as campaigns
from pixmo.captions import models as captions
from pixmo.database import Base
from pixmo.export import models as export
from pixmo.images import models as images
from pixmo.language import models as language
from pixmo.points import models as points
from pixmo.questions import models as questions
from pixmo.recordings import models as recordings
from pixmo.synthetic import models as synthetic
from pixmo.tasks import models as tasks
from pixmo.transcripts import models as transcripts

__all__ = [
    "Base", "accounts", "alembic_config", "campaigns", "captions", "export", "images", "jobs", "language", "points",
    "questions", "recordings", "synthetic", "tasks", "transcripts", "upgrade",
]  # fmt: skip


def _migrations() -> Path:
    """The migrations: inside an installed package, beside it in a checkout."""
    here = Path(__file__).parent
    for folder in (here / "migrations", here.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise FileNotFoundError("pixmo was installed without its migrations; install it again")


def alembic_config(url: str) -> Config:
    """Alembic's configuration for the database at `url`."""
    config = Config()
    config.set_main_option("script_location", str(_migrations()))
    config.attributes["url"] = url
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` to `revision`, creating it if need be."""
    command.upgrade(alembic_config(url), revision)
    if revision == "head":
        jobs.create_engine_tables(url)
