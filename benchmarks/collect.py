"""Next + submit: cycles per second, SQL statements and CPU time of the server, by annotators and tasks.

    python -m benchmarks.collect [--quick]

One cycle is what an annotator's page does between two images: submit the description, get the next image. The take
itself is played by a trigger in the bench's own database, which puts a finished recording with its transcript behind
every lease, so that the cycle can be compared with tools that record nothing. Statements and CPU time include the durable
caption job that every submission enqueues; its share of the statements is shown.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient
from rich.console import Console
from rich.table import Table
from sqlalchemy import event, insert, select

from pixmo import setup
from pixmo.accounts import sessions
from pixmo.campaigns import service as campaigns
from pixmo.campaigns.models import Campaign
from pixmo.context import Context
from pixmo.ids import new_id
from pixmo.images.models import Image
from pixmo.settings import Settings
from pixmo.tasks import service as tasks
from tests import fill

CAMPAIGN = "street"
TEXT = " ".join(["a street with three bicycles and a red car in front of a bakery"] * 10)
TRIGGER = f"""CREATE TRIGGER bench_take AFTER UPDATE OF state ON slots WHEN NEW.state = 'leased' BEGIN
    INSERT OR IGNORE INTO recordings (id, slot_id, task_id, user_id, fence, state, mime, started_at, duration, voiced,
        client, levels, peaks) VALUES (NEW.id, NEW.id, NEW.task_id, NEW.user_id, NEW.fence, 'finished', 'audio/webm',
        NEW.leased_at, 70, 65, '{{}}', '{{}}', '[]');
    INSERT OR IGNORE INTO transcripts (id, recording_id, revision, origin, outcome, text, language, words, segments,
        flags, voiced, model_settings, created_at) VALUES (NEW.id, NEW.id, 1, 'asr', 'ok', '{TEXT}', 'en', '[]', '[]',
        '[]', 65, '{{}}', NEW.leased_at);
    END"""


def fill_store(folder: Path, number: int, annotators: int) -> tuple[Settings, list[str]]:
    """A store with `number` tasks and signed-in annotators; returns the settings and the session tokens."""
    settings = Settings(data_dir=folder)
    setup.prepare(settings)
    context = Context.open(settings)
    with context.db.write() as session:
        template = fill.images(session, 1)[0]
        row = {c.key: getattr(session.get_one(Image, template), c.key) for c in Image.__table__.columns}
        for start in range(0, number, 1000):
            rows = []
            for index in range(start, min(start + 1000, number)):
                rows.append(row | {"id": new_id(), "sha256": f"{index:064x}"})
            session.execute(insert(Image), rows)
        campaign = campaigns.create(session, campaigns.CampaignDraft(CAMPAIGN, min_voiced_seconds=0))
        tasks.create(session, campaign, session.scalars(select(Image.id).where(Image.id != template)), seed=1)
        tokens = [sessions.start(session, person, 1) for person in fill.people(session, annotators)]
        session.connection().exec_driver_sql(TRIGGER)
    context.close()
    return settings, tokens


def submission(lease: dict[str, Any]) -> dict[str, Any]:
    return {
        "fence": lease["fence"], "submission_id": new_id(), "recording_id": lease["id"], "text": TEXT,
        "covered": [], "elapsed_ms": 70_000,
    }  # fmt: skip


def count_statements(folder: Path) -> dict[str, float]:
    """SQL statements of one cycle, counted inside the server, without BEGIN and COMMIT."""
    from pixmo.app import create_app

    settings, tokens = fill_store(folder, 200, 1)
    app = create_app(settings)
    seen: list[str] = []
    for engine in (app.state.pixmo.db.reader, app.state.pixmo.db.writer):
        event.listen(engine, "before_cursor_execute", lambda c, cur, statement, *_: seen.append(statement))
    with TestClient(app, base_url="http://localhost", cookies={"pixmo_session": tokens[0]}) as client:

        def count(name: str, path: str, body: dict[str, Any]) -> Any:
            seen.clear()
            reply = client.post(path, json=body).raise_for_status().json()
            ran = [s for s in seen if not s.startswith(("BEGIN", "SAVEPOINT", "RELEASE"))]
            counts[name].append(len(ran))
            if name == "submit":
                counts["caption_job"].append(len([s for s in ran if "job_states" in s or "workflow_" in s]))
            return reply

        counts: dict[str, list[int]] = {"submit": [], "next": [], "caption_job": []}
        for _ in range(20):
            lease = count("next", f"/api/campaigns/{CAMPAIGN}/next", {"hold": []})
            count("submit", f"/api/assignments/{lease['id']}/submit", submission(lease))
    result = {name: statistics.mean(values) for name, values in counts.items()}
    return result | {"cycle": result["next"] + result["submit"]}


@contextmanager
def server(settings: Settings) -> Iterator[tuple[str, int]]:
    """A real server process without workers; its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "pixmo", "serve", "--workers", "0", "--port", str(port)],
        env=os.environ | {"PIXMO_DATA_DIR": str(settings.data_dir)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{url}/healthz", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its finished threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def drive(url: str, tokens: list[str], seconds: float) -> dict[str, Any]:
    """Everybody works without thinking for `seconds`; counts, latencies in ms, and what was shared wrongly."""
    end = time.monotonic() + seconds
    latencies: dict[str, list[float]] = {"next": [], "submit": []}
    given: list[str] = []

    async def annotator(token: str) -> None:
        async with httpx.AsyncClient(base_url=url, cookies={"pixmo_session": token}, timeout=60) as client:

            async def timed(name: str, path: str, body: dict[str, Any]) -> httpx.Response:
                begun = time.perf_counter()
                reply = await client.post(path, json=body)
                latencies[name].append((time.perf_counter() - begun) * 1000)
                return reply.raise_for_status()

            while time.monotonic() < end:
                reply = await timed("next", f"/api/campaigns/{CAMPAIGN}/next", {"hold": []})
                if reply.status_code == 204:
                    return
                lease = reply.json()
                given.append(lease["task_id"])
                await timed("submit", f"/api/assignments/{lease['id']}/submit", submission(lease))

    begun = time.monotonic()
    await asyncio.gather(*(annotator(token) for token in tokens))
    wall = time.monotonic() - begun
    return {
        "cycles": len(latencies["submit"]),
        "cycles_per_second": round(len(latencies["submit"]) / wall, 1),
        "next_p50_ms": round(statistics.median(latencies["next"]), 1),
        "next_p95_ms": round(statistics.quantiles(latencies["next"], n=20)[-1], 1),
        "submit_p50_ms": round(statistics.median(latencies["submit"]), 1),
        "submit_p95_ms": round(statistics.quantiles(latencies["submit"], n=20)[-1], 1),
        "given_twice": len(given) - len(set(given)),
    }


def measure(number: int, annotators: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings, tokens = fill_store(Path(folder), number, annotators)
        with server(settings) as (url, pid):
            asyncio.run(drive(url, tokens[:1], 0.5))
            before = cpu_seconds(pid)
            row = drive_row(url, tokens, seconds)
            spent = cpu_seconds(pid) - before
        context = Context.open(settings)
        with context.db.read() as session:
            campaign = session.scalars(select(Campaign)).one()
            progress = tasks.progress(session, campaign.id)
        context.close()
    return {
        "tasks": number, "annotators": annotators, **row,
        "cpu_ms_per_cycle": round(1000 * spent / max(1, row["cycles"]), 2), "submitted": progress.done,
    }  # fmt: skip


def drive_row(url: str, tokens: list[str], seconds: float) -> dict[str, Any]:
    return asyncio.run(drive(url, tokens, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer tasks, shorter runs")
    options = parser.parse_args()
    sizes = (1000, 4000) if options.quick else (1000, 20_000)
    seconds = 4 if options.quick else 15
    with tempfile.TemporaryDirectory() as folder:
        statements = count_statements(Path(folder))
    rows = [measure(number, crowd, seconds) for number in sizes for crowd in (1, 8, 32)]
    table = Table(
        "tasks", "annotators", "cycles/s", "next p50 / p95 ms", "submit p50 / p95 ms", "CPU ms / cycle", "given twice"
    )
    for row in rows:
        table.add_row(
            str(row["tasks"]), str(row["annotators"]), str(row["cycles_per_second"]),
            f"{row['next_p50_ms']} / {row['next_p95_ms']}", f"{row['submit_p50_ms']} / {row['submit_p95_ms']}",
            str(row["cpu_ms_per_cycle"]), str(row["given_twice"]),
        )  # fmt: skip
    console = Console(width=120)
    console.print(table)
    console.print(
        f"SQL statements: next {statements['next']:.1f} + submit {statements['submit']:.1f} "
        f"= {statements['cycle']:.1f} a cycle, of which the caption job {statements['caption_job']:.1f}"
    )
    print(json.dumps({"statements": statements, "rows": rows}))


if __name__ == "__main__":
    main()
