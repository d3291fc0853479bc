"""What a request or a job works with: the settings, the database and the blobs of one store."""

from dataclasses import dataclass
from typing import Self

from pixmo.database import Database
from pixmo.errors import SetupError
from pixmo.settings import Settings
from pixmo.storage import Storage


@dataclass(frozen=True)
class Context:
    """One opened store."""

    settings: Settings
    db: Database
    storage: Storage

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the store that `settings` name. Raises `SetupError` if it was never made."""
        if settings.database_url is None and not (settings.store_dir / "pixmo.db").is_file():
            raise SetupError(f"There is no store in {settings.data_dir}. Make one with: pixmo init")
        return cls(settings, Database(settings.database), Storage(settings.store_dir / "blobs"))

    def close(self) -> None:
        self.db.close()
