"""What routes ask FastAPI for. Apart from `context.py`, so that commands and workers need not load a web framework."""

from typing import Annotated

from fastapi import Depends, Request

from pixmo.context import Context
from pixmo.jobs import Jobs


# Coroutines, because plain functions would each cost a trip through the thread pool.
async def get_context(request: Request) -> Context:
    """The server's store."""
    context: Context = request.app.state.pixmo
    return context


async def get_jobs(request: Request) -> Jobs:
    """Where the server enqueues jobs."""
    jobs: Jobs = request.app.state.jobs
    return jobs


ContextDep = Annotated[Context, Depends(get_context)]
JobsDep = Annotated[Jobs, Depends(get_jobs)]
