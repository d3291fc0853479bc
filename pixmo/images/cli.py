"""`pixmo ingest`."""

import json as json_lines
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixmo.console import JsonOption, err, opened_store, print_json
from pixmo.errors import Unprocessable

if TYPE_CHECKING:
    from pixmo.images.ingest import Failure, Report
    from pixmo.images.sources import Source

_SHOWN = 20
"""Failures listed on the screen."""

Megabytes = Annotated[int, typer.Option(min=1, help="Refuse larger files.")]
Megapixels = Annotated[int, typer.Option(min=1, help="Refuse larger images, before they are decoded.")]


def ingest(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, zip files, images, URLs, lists (.csv .jsonl .ndjson) or .parquet files."),
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Hugging Face data set: a name on the Hub or a local folder.")
    ] = None,
    config: Annotated[str | None, typer.Option(help="Configuration of the data set.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set. Default: all.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the data set on the Hub.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Fourteen images to speak about.")] = False,
    topic: Annotated[str | None, typer.Option(help="Topic of images whose list gives none.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of images whose list gives none.")] = None,
    attribution: Annotated[str | None, typer.Option(help="Credit for images whose list gives none.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what was refused in an earlier run.")
    ] = False,
    allow_private_urls: Annotated[
        bool, typer.Option("--allow-private-urls", help="Download also from this machine and the local network.")
    ] = False,
    max_megabytes: Megabytes = 100,
    max_megapixels: Megapixels = 80,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes. Default: one for each core.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write each refused source and the reason to this JSON-lines file."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take images into the store: upright, without location data, in the sizes the page needs.

    Running it again takes what is new. Lists have the columns `path` or `url`, and optionally `sha256`, `topic`,
    `licence`, `attribution`, `source_url`.

    **Examples**

    `pixmo ingest photos/ scans.zip --topic street --licence CC-BY-4.0`

    `pixmo ingest urls.csv --report refused.jsonl`

    `pixmo ingest --dataset allenai/pixmo-cap --split train`
    """
    from pixmo.images.demo import demo_images
    from pixmo.images.hub import HubDataset
    from pixmo.images.ingest import IngestOptions, add_images, open_source
    from pixmo.images.normalise import Limits
    from pixmo.images.sources import Meta, Single

    try:
        defaults = Meta(topic, licence, attribution)
    except ValueError as error:
        raise Unprocessable(f"{error}.") from None
    options = IngestOptions(
        defaults=defaults,
        limits=Limits(max_megabytes * 2**20, max_megapixels * 1_000_000),
        workers=workers,
        retry_failed=retry_failed,
        allow_private_urls=allow_private_urls,
    )
    if report is not None:
        _write_report(report, [])  # a folder that is missing shows now, not after the run
    with opened_store() as context:
        offered: list[Source] = [open_source(source) for source in sources or ()]
        offered += [HubDataset(name, config=config, split=split, revision=revision) for name in dataset or ()]
        offered += [Single(demo_images())] if demo else []
        if not offered:
            raise Unprocessable("Name a folder, a zip file, a list or an image to take; or try: pixmo ingest --demo")
        try:
            with _progress() as show:
                result = add_images(context.db, context.storage, offered, options, show)
        except KeyboardInterrupt:
            err.print("Stopped. What was taken is kept; the same command goes on from here.")
            raise typer.Exit(130) from None
    if report is not None:
        _write_report(report, result.failures)
    if json:
        print_json(_summary(result))
    else:
        _show(result, report)
    if result.new + result.known == 0:
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[Callable[["Report"], None]]:
    """A progress bar on standard error, moved on by calling what is yielded."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(
            "[green]{task.fields[new]} new[/]  {task.fields[known]} there  [red]{task.fields[failed]} refused[/]"
        ),
        TextColumn("{task.fields[rate]:.1f} images/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("Images", total=None, new=0, known=0, failed=0, rate=0.0)

        def show(report: "Report") -> None:
            elapsed = bar.tasks[0].elapsed or 0
            rate = report.new / elapsed if elapsed else 0
            bar.update(
                task, total=report.total, completed=report.done,
                new=report.new, known=report.known, failed=report.failed, rate=rate,
            )  # fmt: skip

        yield show


def _summary(result: "Report") -> dict[str, object]:
    return {
        "new": result.new,
        "known": result.known,
        "failed": result.failed,
        "ignored": result.ignored,
        "reasons": dict(Counter(str(failure.reason) for failure in result.failures)),
        "seconds": round(result.seconds, 3),
        "images_per_second": round(result.new / result.seconds, 2) if result.seconds else None,
    }


def _write_report(path: Path, failures: "list[Failure]") -> None:
    try:
        with path.open("w", encoding="utf-8") as file:
            for failure in failures:
                file.write(json_lines.dumps(vars(failure), ensure_ascii=False) + "\n")
    except OSError as error:
        raise Unprocessable(f"The report {path} cannot be written: {error.strerror}.") from None


def _show(result: "Report", report: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    if result.failures:
        table = Table("Source", "Reason", "Detail", title="Refused")
        for failure in result.failures[:_SHOWN]:
            table.add_row(Text(failure.source, overflow="fold"), str(failure.reason), Text(failure.detail))
        err.print(table)
        more = result.failed - _SHOWN
        if more > 0:
            where = report or "--report FILE"
            err.print(f"and {more} more; all are in {where}", markup=False)
        earlier = sum(failure.earlier for failure in result.failures)
        if earlier:
            err.print(f"{earlier} of them were refused in an earlier run; --retry-failed tries them again.")
    rate = f", {result.new / result.seconds:.1f} images/s" if result.new else ""
    err.print(
        f"{result.new} new, {result.known} already there, {result.failed} refused, "
        f"{result.ignored} other files passed over ({result.seconds:.1f} s{rate})",
        highlight=False,
    )
    if result.new + result.known == 0:
        err.print("[red]No image could be read.[/]")
    elif result.new:
        err.print("Next: pixmo campaign create NAME")
