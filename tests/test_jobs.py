"""Durable jobs, with real worker processes that are really killed."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from pixmo.context import Context
from pixmo.database import Database
from pixmo.errors import NotFound
from pixmo.jobs import Jobs, JobState, WorkerProcess, dead_workers, job_counts

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def jobs(context: Context) -> Iterator[Jobs]:
    jobs = Jobs(context.settings.database)
    yield jobs
    jobs.close()


@pytest.fixture
def start(context: Context) -> Iterator[Start]:
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.toy_worker", str(context.settings.store_dir), "3"],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def notes(context: Context) -> list[str]:
    path = context.settings.store_dir / "notes"
    return path.read_text().splitlines() if path.exists() else []


def enqueue(db: Database, jobs: Jobs, job: str, subject: str = "x") -> None:
    with db.write() as session:
        jobs.enqueue(session, job, subject)


def state(db: Database, job: str, subject: str = "x") -> JobState:
    with db.read() as session:
        return session.get_one(JobState, (job, subject))


def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_enqueueing_is_part_of_the_transaction(db: Database, jobs: Jobs) -> None:
    with pytest.raises(RuntimeError, match="never mind"), db.write() as session:
        jobs.enqueue(session, "write", "x")
        raise RuntimeError("never mind")
    with db.read() as session:
        assert job_counts(session) == {}
        assert session.connection().exec_driver_sql("SELECT count(*) FROM workflow_status").scalar() == 0


def test_a_waiting_job_is_not_enqueued_twice_and_retry_needs_a_parked_one(db: Database, jobs: Jobs) -> None:
    enqueue(db, jobs, "write")
    enqueue(db, jobs, "write")
    with db.read() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM workflow_status").scalar() == 1
    with pytest.raises(NotFound), db.write() as session:
        jobs.retry(session, "write", "x")


def test_success_retry_and_parking(db: Database, context: Context, jobs: Jobs, start: Start) -> None:
    for job in ("write", "flaky", "broken", "hopeless"):
        enqueue(db, jobs, job)
    process = start()
    until(lambda: all(state(db, job).state in ("done", "parked") for job in ("write", "flaky", "broken", "hopeless")))
    assert state(db, "write").state == "done"
    flaky, broken, hopeless = state(db, "flaky"), state(db, "broken"), state(db, "hopeless")
    assert (flaky.state, flaky.attempts, flaky.reason) == ("done", 3, None)
    assert (broken.state, broken.attempts, broken.reason) == ("parked", 3, "ValueError: this file is broken")
    assert (hopeless.state, hopeless.attempts, hopeless.reason) == ("parked", 1, "no model for this language")

    with db.write() as session:
        jobs.retry(session, "broken", "x")
    until(lambda: state(db, "broken").state == "parked" and state(db, "broken").round == 2)
    assert notes(context).count("broken x") == 6

    process.terminate()
    assert process.wait(20) == 0
    with db.read() as session:
        assert session.scalars(select(WorkerProcess.stopped_at)).one() is not None


def test_a_job_survives_kill_9_of_its_worker(db: Database, context: Context, jobs: Jobs, start: Start) -> None:
    enqueue(db, jobs, "slow")
    first = start()
    until(lambda: "begin x" in notes(context))
    first.kill()
    first.wait()
    assert len(list(dead_workers(context))) == 1
    start()
    until(lambda: state(db, "slow").state == "done")
    assert notes(context) == ["begin x", "begin x", "end x"]
    assert not list(dead_workers(context))


def test_a_job_that_kills_its_workers_is_parked_and_others_go_on(
    db: Database, context: Context, jobs: Jobs, start: Start
) -> None:
    enqueue(db, jobs, "deadly")
    for _ in range(3):
        assert start().wait(40) == -9
    enqueue(db, jobs, "write")
    start()
    until(lambda: state(db, "deadly").state == "parked")
    until(lambda: state(db, "write").state == "done")
    assert state(db, "deadly").reason == "The worker died 3 times while it worked on this."
    assert notes(context).count("deadly x") == 3
