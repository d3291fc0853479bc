"""Durable jobs on DBOS; the only file that imports the job engine.

A job is a name and the id of what it works on. It is enqueued in the transaction that makes it necessary, runs at
least once, is retried with back-off, and after the last attempt is parked with its reason. `job_states` holds what
people see of it; claiming, fencing and resuming are the engine's. The engine cannot know that a worker is dead, so
every worker writes a heartbeat, and whoever finds a silent one gives its jobs back.
"""

import contextlib
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, Text, and_, bindparam, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.context import Context
from pixmo.database import Base, ReadSession, WriteSession, table
from pixmo.errors import NotFound, PixmoError
from pixmo.ids import new_id

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

__all__ = [
    "Job", "JobState", "Jobs", "Parked", "Worker", "WorkerProcess", "create_engine_tables", "dead_workers", "job_counts",
    "wait_for_jobs",
]  # fmt: skip

logger = logging.getLogger("pixmo.jobs")

# Constant, because by default the engine strands the jobs of every older version of the source code.
APPLICATION_VERSION = "pixmo-1"
POLL_SECONDS = 0.2


class JobState(Base):
    """Where a job stands, for people to see.

    `state`: queued, running, retrying (waiting for its next attempt), done, parked (given up, with `reason`).
    `round` counts how often it was enqueued anew. `partial` is a result that is still growing.
    """

    __tablename__ = "job_states"

    job: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    round: Mapped[int] = mapped_column(default=1)
    reason: Mapped[str | None] = mapped_column(Text)
    partial: Mapped[str | None] = mapped_column(Text)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class WorkerProcess(Base):
    """A process that runs jobs. Silent for too long means dead."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(default=now)
    heartbeat_at: Mapped[datetime] = mapped_column(default=now)
    stopped_at: Mapped[datetime | None]
    note: Mapped[str | None] = mapped_column(Text)


class Parked(PixmoError):
    """Raised by a job to say that trying again cannot help; the reason is shown to people."""

    code = "parked"


@dataclass(frozen=True)
class Job:
    """A kind of job: `run(context, subject_id)` must be safe to run twice. `slots` run side by side in one worker."""

    name: str
    run: Callable[[Context, str], None]
    slots: int = 1


def create_engine_tables(url: str) -> None:
    """Create or migrate the job engine's own tables in the database at `url`."""
    _quiet()
    DBOS.migrate(system_database_url=url)


def _quiet() -> None:
    logging.getLogger("dbos").setLevel(logging.WARNING)


_states = table(JobState)
_insert = upsert(_states).values(
    job=bindparam("job"), subject_id=bindparam("subject_id"), state="queued", attempts=0, round=1,
    updated_at=bindparam("at"),
)  # fmt: skip
_enqueue = _insert.on_conflict_do_update(
    index_elements=[_states.c.job, _states.c.subject_id],
    set_={
        "state": "queued",
        "attempts": 0,
        "reason": None,
        "partial": None,
        "round": _states.c.round + 1,
        "updated_at": _insert.excluded.updated_at,
    },
    where=_states.c.state != "queued",
).returning(_states.c.round)


class Jobs:
    """The side that hands jobs over. One per process; thread-safe."""

    def __init__(self, url: str) -> None:
        _quiet()
        self._client = DBOSClient(system_database_url=url, serializer=DBOSPortableJSONSerializer(), lazy=True)

    def enqueue(self, session: WriteSession, job: str, subject_id: str) -> None:
        """Enqueue `job` for `subject_id` in the caller's transaction: both happen or neither does.

        A job that still waits is not enqueued again, for it will see what is new when it starts. Otherwise a new
        round begins, which takes the place of one that is running.
        """
        round_ = session.connection().execute(_enqueue, {"job": job, "subject_id": subject_id, "at": now()}).scalar()
        if round_ is not None:
            self._client.enqueue_in_transaction(
                session,
                {
                    "workflow_name": job,
                    "queue_name": job,
                    "workflow_id": f"{job}:{subject_id}:{round_}",
                    "app_version": APPLICATION_VERSION,
                },
                subject_id,
                round_,
            )

    def retry(self, session: WriteSession, job: str, subject_id: str) -> None:
        """Start a parked job again. Raises `NotFound` if it is not parked."""
        state = session.get(JobState, (job, subject_id))
        if state is None or state.state != "parked":
            raise NotFound(f"There is no parked {job} job for {subject_id}.")
        session.expire(state)
        self.enqueue(session, job, subject_id)

    def close(self) -> None:
        self._client.destroy()


def job_counts(session: ReadSession) -> dict[str, dict[str, int]]:
    """Number of jobs by kind and state."""
    counts: dict[str, dict[str, int]] = {}
    for job, state, number in session.execute(
        select(JobState.job, JobState.state, func.count()).group_by(JobState.job, JobState.state)
    ):
        counts.setdefault(job, {})[state] = number
    return counts


class Worker:
    """The side that runs jobs. The engine allows one per process."""

    def __init__(self, context: Context, jobs: list[Job], *, note: str | None = None) -> None:
        self.context = context
        self.id = new_id()
        self.note = note
        self._jobs = {job.name: job for job in jobs}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to take jobs; returns at once."""
        _quiet()
        with self.context.db.write() as session:
            session.execute(
                insert(WorkerProcess).values(
                    id=self.id, host=socket.gethostname(), pid=os.getpid(), started_at=now(), heartbeat_at=now(),
                    note=self.note,
                )
            )  # fmt: skip
        DBOS(
            config={
                "name": "pixmo",
                "system_database_url": self.context.settings.database,
                "executor_id": self.id,
                "application_version": APPLICATION_VERSION,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "WARNING",
                "notification_listener_polling_interval_sec": 1.0,
            }
        )
        for job in self._jobs.values():
            self._register(job)
        DBOS.listen_queues(list(self._jobs))
        DBOS.launch()
        for job in self._jobs.values():
            DBOS.register_queue(
                job.name,
                worker_concurrency=job.slots,
                polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )
        self._thread = threading.Thread(target=self._beat, name="pixmo-heartbeat", daemon=True)
        self._thread.start()

    def stop(self, *, wait_seconds: int = 30) -> None:
        """Stop taking jobs, wait for the running ones, sign off."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=wait_seconds)
        with self.context.db.write() as session:
            session.execute(update(WorkerProcess).where(WorkerProcess.id == self.id).values(stopped_at=now()))

    def _register(self, job: Job) -> None:
        settings = self.context.settings

        @DBOS.step(
            name=f"{job.name}.attempt",
            retries_allowed=settings.job_attempts > 1,
            max_attempts=settings.job_attempts,
            interval_seconds=settings.job_backoff_seconds,
            backoff_rate=2.0,
        )
        def attempt(subject_id: str, round_: int) -> str:
            return self._attempt(job, subject_id, round_)

        @DBOS.workflow(name=job.name)
        def workflow(subject_id: str, round_: int) -> str:
            try:
                return attempt(subject_id, round_)
            except Exception as error:
                reason = _reason(error.errors[-1] if getattr(error, "errors", None) else error)  # type: ignore[attr-defined]
                logger.warning("parked %s %s: %s", job.name, subject_id, reason)
                self._set(job, subject_id, round_, state="parked", reason=reason)
                return "parked"

    def _attempt(self, job: Job, subject_id: str, round_: int) -> str:
        limit = self.context.settings.job_attempts
        with self.context.db.write() as session:
            attempts = session.scalar(
                update(JobState)
                .where(_is(job, subject_id, round_))
                .values(state="running", attempts=JobState.attempts + 1, updated_at=now())
                .returning(JobState.attempts)
            )
        if attempts is None:
            return "superseded"
        try:
            # The engine counts attempts within one process; a job that kills its worker is counted only here.
            if attempts > limit:
                raise Parked(f"The worker died {attempts - 1} times while it worked on this.")
            job.run(self.context, subject_id)
        except Parked as parked:
            logger.warning("parked %s %s: %s", job.name, subject_id, parked.detail)
            self._set(job, subject_id, round_, state="parked", reason=parked.detail)
            return "parked"
        except Exception as error:
            logger.warning("attempt %d of %s %s failed", attempts, job.name, subject_id, exc_info=error)
            self._set(job, subject_id, round_, state="retrying", reason=_reason(error))
            raise
        self._set(job, subject_id, round_, state="done", reason=None)
        return "done"

    def _set(self, job: Job, subject_id: str, round_: int, **values: Any) -> None:
        with self.context.db.write() as session:
            session.execute(update(JobState).where(_is(job, subject_id, round_)).values(updated_at=now(), **values))

    def _beat(self) -> None:
        pause = min(5.0, self.context.settings.worker_silence_seconds / 4)
        while True:
            with contextlib.suppress(Exception):
                with self.context.db.write() as session:
                    session.execute(update(WorkerProcess).where(WorkerProcess.id == self.id).values(heartbeat_at=now()))
                self._rescue()
            if self._stop.wait(pause):
                return

    def _rescue(self) -> None:
        """Give the jobs of dead workers back to the queue.

        Safe to run twice: the engine's fencing refuses the writes of a run whose job was given to somebody else.
        """
        for worker_id in list(dead_workers(self.context)):
            for name in self._jobs:
                pending = DBOS.list_workflows(
                    status="PENDING", executor_id=worker_id, name=name, load_input=False, load_output=False
                )
                if pending:
                    logger.warning("worker %s is dead: %d %s jobs go back", worker_id, len(pending), name)
                    DBOS.resume_workflows([workflow.workflow_id for workflow in pending], queue_name=name)
            with self.context.db.write() as session:
                session.execute(update(WorkerProcess).where(WorkerProcess.id == worker_id).values(stopped_at=now()))


def _is(job: Job, subject_id: str, round_: int) -> ColumnElement[bool]:
    return and_(JobState.job == job.name, JobState.subject_id == subject_id, JobState.round == round_)


def dead_workers(context: Context) -> Iterator[str]:
    """Ids of workers that did not sign off and show no life."""
    limit = now() - timedelta(seconds=context.settings.worker_silence_seconds)
    with context.db.read() as session:
        workers = session.scalars(select(WorkerProcess).where(WorkerProcess.stopped_at.is_(None))).all()
    for worker in workers:
        if worker.heartbeat_at < limit or (worker.host == socket.gethostname() and not _process_exists(worker.pid)):
            yield worker.id


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _reason(error: BaseException) -> str:
    return error.detail if isinstance(error, PixmoError) else f"{type(error).__name__}: {error}"


def wait_for_jobs(context: Context, *, seconds: float) -> Mapping[str, dict[str, int]]:
    """Wait until no job is queued or running, or `seconds` have passed; the last counts by kind and state."""
    end = time.monotonic() + seconds
    while True:
        with context.db.read() as session:
            counts = job_counts(session)
        busy = sum(counts[job].get(state, 0) for job in counts for state in ("queued", "running", "retrying"))
        if not busy or time.monotonic() > end:
            return counts
        time.sleep(POLL_SECONDS)
