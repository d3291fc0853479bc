"""`pixmo campaign ...`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pixmo.console import JsonOption, err, opened_store, out, print_json

if TYPE_CHECKING:
    from pixmo.campaigns.models import Campaign
    from pixmo.database import ReadSession, WriteSession

app = typer.Typer(no_args_is_help=True, help="Ask a question of a set of images.", rich_markup_mode="markdown")
Name = Annotated[str, typer.Argument(help="The campaign's name.")]


class Kind(StrEnum):
    describe = "describe"


def _fields(session: "ReadSession | WriteSession", campaign: "Campaign") -> dict[str, object]:
    from pixmo.tasks import service as tasks

    progress = tasks.progress(session, campaign.id)
    return {
        "name": campaign.name,
        "kind": campaign.kind.value,
        "status": campaign.status.value,
        "title": campaign.title,
        "language": campaign.language,
        "overlap": campaign.overlap,
        "min_voiced_seconds": campaign.min_voiced_seconds,
        "max_seconds": campaign.max_seconds,
        "min_words": campaign.min_words,
        "tasks": progress.total,
        "done": progress.done,
        "in_progress": progress.in_progress,
        "open": progress.open,
    }


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Short name for addresses and exports: letters, digits, hyphens.")],
    title: Annotated[str | None, typer.Option(help="What annotators see as its name.")] = None,
    topic: Annotated[str | None, typer.Option(help="Take only the images of this topic.")] = None,
    overlap: Annotated[int, typer.Option(help="How many people describe each image.")] = 1,
    min_voiced_seconds: Annotated[
        float | None, typer.Option(help="Seconds of speech asked for. Default: 90 if overlap is 1, else 60.")
    ] = None,
    max_seconds: Annotated[float, typer.Option(help="Longest take that is accepted.")] = 600,
    min_words: Annotated[int, typer.Option(help="Fewest words of a transcript that is accepted.")] = 20,
    language: Annotated[str, typer.Option(help="Language that is spoken.")] = "en",
    instructions: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Text file shown before the questions.")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Text file, one question a line. Default: PixMo's seven."),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="What is asked.")] = Kind.describe,
    json: JsonOption = False,
) -> None:
    """Make a campaign of all images, or of one topic.

    **Examples**

    `pixmo campaign create street-scenes --topic street --overlap 3`

    `pixmo campaign create katzen --language de --questions fragen.txt`
    """
    from sqlalchemy import select

    from pixmo.campaigns import service
    from pixmo.images.models import Image
    from pixmo.tasks import service as tasks

    draft = service.CampaignDraft(
        name=name, title=title, language=language, overlap=overlap, min_voiced_seconds=min_voiced_seconds,
        max_seconds=max_seconds, min_words=min_words,
        instructions=instructions.read_text("utf-8").strip() if instructions else service.INSTRUCTIONS,
        questions=_lines(questions) if questions else service.GUIDING_QUESTIONS,
    )  # fmt: skip
    with opened_store() as context, context.db.write() as session:
        campaign = service.create(session, draft)
        images = select(Image.id).order_by(Image.created_at)
        if topic is not None:
            images = images.where(Image.topic == topic)
        made = tasks.create(session, campaign, session.scalars(images))
        fields = _fields(session, campaign)
    if json:
        print_json(fields)
        return
    out.print(f"Campaign [bold]{name}[/]: {made} images, {overlap} per image, "
              f"at least {fields['min_voiced_seconds']:.0f} s of speech each.")  # fmt: skip
    if not made:
        err.print("It has no images yet. Load some with: pixmo ingest FOLDER, then: pixmo campaign add " + name)
    else:
        err.print("Next: pixmo invite --name NAME, then pixmo serve")


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]


@app.command()
def edit(
    name: Name,
    title: Annotated[str | None, typer.Option(help="What annotators see as its name.")] = None,
    instructions: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Text file shown before the questions.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Text file, one question a line.")
    ] = None,
    min_voiced_seconds: Annotated[float | None, typer.Option(help="Seconds of speech asked for.")] = None,
    min_words: Annotated[int | None, typer.Option(help="Fewest words that are accepted.")] = None,
) -> None:
    """Change a campaign's texts or minimums; what it was stays in the audit trail.

    **Example:** `pixmo campaign edit street-scenes --questions questions.txt --min-voiced-seconds 75`
    """
    from pixmo.campaigns import service

    with opened_store() as context, context.db.write() as session:
        service.edit(
            session,
            name,
            title=title,
            instructions=instructions.read_text("utf-8").strip() if instructions else None,
            questions=_lines(questions) if questions else None,
            min_voiced_seconds=min_voiced_seconds,
            min_words=min_words,
        )
    out.print(f"Campaign [bold]{name}[/] is changed.")


@app.command()
def add(
    name: Name,
    topic: Annotated[str | None, typer.Option(help="Take only the images of this topic.")] = None,
    priority: Annotated[int, typer.Option(help="Higher comes first.")] = 0,
) -> None:
    """Add the images that the campaign does not have yet.

    **Example:** `pixmo campaign add street-scenes --topic street --priority 1`
    """
    from sqlalchemy import select

    from pixmo.campaigns import service
    from pixmo.images.models import Image
    from pixmo.tasks import service as tasks

    with opened_store() as context, context.db.write() as session:
        images = select(Image.id).order_by(Image.created_at)
        if topic is not None:
            images = images.where(Image.topic == topic)
        made = tasks.create(session, service.by_name(session, name), session.scalars(images), priority=priority)
    out.print(f"{made} images added to [bold]{name}[/].")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """All campaigns with their progress."""
    from pixmo.campaigns import service

    with opened_store() as context, context.db.read() as session:
        rows = [_fields(session, campaign) for campaign in service.all_campaigns(session)]
    if json:
        print_json(rows)
        return
    table = Table("name", "status", "language", "overlap", "speech", "done", "in progress", "open", box=None)
    for row in rows:
        table.add_row(
            str(row["name"]), str(row["status"]), str(row["language"]), str(row["overlap"]),
            f"{row['min_voiced_seconds']:.0f} s", f"{row['done']}/{row['tasks']}", str(row["in_progress"]),
            str(row["open"]),
        )  # fmt: skip
    out.print(table)


@app.command()
def show(name: Name, json: JsonOption = False) -> None:
    """One campaign: settings, instructions, questions, progress."""
    from pixmo.campaigns import service

    with opened_store() as context, context.db.read() as session:
        campaign = service.by_name(session, name)
        fields = _fields(session, campaign) | {
            "instructions": campaign.instructions,
            "questions": [question["text"] for question in campaign.questions],
        }
    if json:
        print_json(fields)
        return
    for key, value in fields.items():
        out.print(f"[dim]{key}[/] ", end="")
        out.print("\n  " + "\n  ".join(value) if isinstance(value, list) else str(value), markup=False)


def _set_status(name: str, status: str, done: str) -> None:
    from pixmo.campaigns import service
    from pixmo.campaigns.models import CampaignStatus

    with opened_store() as context, context.db.write() as session:
        service.set_status(session, name, CampaignStatus(status))
    out.print(f"Campaign [bold]{name}[/] is {done}.")


@app.command()
def pause(name: Name) -> None:
    """Hand out no more images; what people hold may still be submitted."""
    _set_status(name, "paused", "paused")


@app.command()
def resume(name: Name) -> None:
    """Hand out images again."""
    _set_status(name, "active", "active again")


@app.command()
def close(name: Name) -> None:
    """End the campaign. `pixmo campaign resume` opens it again."""
    _set_status(name, "closed", "closed")
