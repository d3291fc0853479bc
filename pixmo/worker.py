"""The worker process: runs jobs until it is told to stop."""

import logging
import os
import signal
import sys
import threading
import time

from pixmo.campaigns.service import all_campaigns
from pixmo.context import Context
from pixmo.describe.jobs import asr_options, describe_jobs, warm_up
from pixmo.errors import PixmoError
from pixmo.jobs import Jobs, Worker
from pixmo.recordings.service import sweep
from pixmo.transcripts.asr import describe_choice

SWEEP_SECONDS = 3600
logger = logging.getLogger("pixmo.worker")


def run(context: Context, *, parent: int | None = None, stop: threading.Event | None = None) -> None:
    """Work until SIGTERM or SIGINT, or until `stop` is set; the job in hand is finished first.

    With `parent`, the id of the process that started it, it also stops when that process is gone. A worker without a recogniser still runs: it makes captions, and parks takes with the reason.
    """
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    jobs = Jobs(context.settings.database)
    try:
        note = describe_choice(asr_options(context.settings)).partition("\n")[0]
    except PixmoError as error:
        note = f"no speech recognition: {error.detail}"
        logger.warning("%s", note)
    worker = Worker(context, describe_jobs(jobs), note=note)
    worker.start()
    with context.db.read() as session:
        languages = {campaign.language for campaign in all_campaigns(session)} or {"en"}
    threading.Thread(target=warm_up, args=(context.settings, languages), name="pixmo-warm-up", daemon=True).start()
    print(f"worker {worker.id} is ready ({note})", file=sys.stderr, flush=True)  # noqa: T201
    try:
        swept = 0.0
        while not stop.wait(1) and (parent is None or os.getppid() == parent):
            if time.monotonic() > swept + SWEEP_SECONDS or not swept:
                sweep(context)
                context.storage.sweep(older_than=SWEEP_SECONDS)
                swept = time.monotonic()
    finally:
        worker.stop()
        jobs.close()
