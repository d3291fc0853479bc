"""What a request or a job works with: the settings, the database and the blobs of one store."""

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import Depends, Request

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


async def get_context(request: Request) -> Context:
    """The server's store. A coroutine, because a plain function would cost a trip through the thread pool."""
    context = request.app.state.pixmo
    assert isinstance(context, Context)
    return context


ContextDep = Annotated[Context, Depends(get_context)]
