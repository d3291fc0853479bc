"""`pixmo status` for people."""

from rich.table import Table

from pixmo.clock import now
from pixmo.console import out
from pixmo.status import Status


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="dim")


def show(status: Status) -> None:
    """Print the state of the store, empty parts left out."""
    totals = status.totals
    out.print(
        f"{totals.images} images, {totals.recordings} takes, {totals.voiced_seconds / 60:.1f} minutes of speech, "
        f"{totals.captions} captions\n",
        highlight=False,
    )
    if status.campaigns:
        table = _table("campaign", "status", "done", "in progress", "open")
        for campaign in status.campaigns:
            table.add_row(
                campaign.name, campaign.status.value, f"{campaign.done}/{campaign.total}", str(campaign.in_progress),
                str(campaign.open),
            )  # fmt: skip
        out.print(table, "")
    table = _table("job", "waiting", "running", "retrying", "done", "parked")
    for job, numbers in status.jobs.items():
        table.add_row(job, *(str(value) for value in numbers.model_dump().values()))
    out.print(table, "")
    if status.parked:
        table = _table("parked", "id", "attempts", "reason")
        for parked in status.parked:
            table.add_row(parked.job, parked.subject_id, str(parked.attempts), parked.reason)
        out.print(table, "Start one again with: pixmo retry JOB ID\n")
    if status.workers:
        table = _table("worker", "heartbeat", "recogniser")
        for worker in status.workers:
            age = (now() - worker.heartbeat_at).total_seconds()
            table.add_row(
                f"{worker.host}:{worker.pid}", f"{age:.0f} s ago" if worker.alive else "[red]dead[/]", worker.note
            )
        out.print(table)
    else:
        out.print("No worker runs. Start one with: pixmo worker")
