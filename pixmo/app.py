"""The server: the API, the images, the sound and the page, from one process on one address."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

import pixmo
from pixmo import status
from pixmo.accounts import routes as accounts
from pixmo.context import Context
from pixmo.database import Database
from pixmo.describe import routes as describe
from pixmo.errors import NotFound, SetupError
from pixmo.http import PROBLEMS, install
from pixmo.images import routes as images
from pixmo.jobs import Jobs
from pixmo.recordings import routes as recordings
from pixmo.settings import Settings
from pixmo.tasks import routes as task_routes
from pixmo.tasks import service as tasks

logger = logging.getLogger("pixmo")
WEB = Path(__file__).parent / "web"
EXPIRE_SECONDS = 10


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application for the store that `settings` name. Raises `SetupError` if there is no such store."""
    context = Context.open(settings or Settings())
    jobs = Jobs(context.settings.database)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        sweeper = threading.Thread(target=_expire_leases, args=(context.db, stop), name="pixmo-leases", daemon=True)
        sweeper.start()
        yield
        stop.set()
        sweeper.join()
        jobs.close()
        context.close()

    app = FastAPI(
        title="pixmo",
        version=pixmo.__version__,
        description="Collects spoken descriptions of images. Errors are problem documents (RFC 9457).",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        responses=PROBLEMS,
        docs_url=None,
        redoc_url=None,
    )
    app.state.pixmo = context
    app.state.jobs = jobs
    install(app, context.settings)
    for router in (
        accounts.router, images.router, task_routes.router, recordings.router, describe.router, status.router,
    ):  # fmt: skip
        app.include_router(router)

    @app.get("/healthz", tags=["server"])
    def healthz() -> dict[str, str]:
        """Whether the server answers."""
        return {"status": "ok"}

    _serve_page(app)
    return app


class _Parts(StaticFiles):
    """The parts of the page: their names hold their hash, so a browser asks for each once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def _serve_page(app: FastAPI) -> None:
    if not (WEB / "index.html").is_file():
        raise SetupError("The annotation page is not built. Build it with: make web")
    app.mount("/assets", GZipMiddleware(_Parts(directory=WEB / "assets")), name="assets")
    files = {path.name for path in WEB.iterdir() if path.is_file()} - {"index.html"}

    @app.get("/{path:path}", include_in_schema=False)
    def page(path: str) -> Response:
        if path.startswith("api/"):
            raise NotFound(f"There is no address /{path}.")
        if path in files:
            return FileResponse(WEB / path)
        # The page asks for its own newest form at every load.
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})


def _expire_leases(db: Database, stop: threading.Event) -> None:
    while not stop.wait(EXPIRE_SECONDS):
        with suppress(Exception), db.write() as session:
            if number := tasks.expire(session):
                logger.info("%d leases have ended", number)
