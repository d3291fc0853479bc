"""`pixmo export`: write a data set, check a data set."""

from pathlib import Path
from typing import Annotated

import typer

from pixmo.console import JsonOption, err, opened_store, out, print_json

app = typer.Typer(no_args_is_help=True, help="Write data sets that `datasets.load_dataset` reads, and check them.")


@app.command()
def cap(
    folder: Annotated[Path, typer.Argument(help="Where to write. An older export there is replaced as a whole.")],
    campaign: Annotated[str | None, typer.Option(help="Only this campaign. Default: all that describe images.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of captions and transcripts, as odc-by.")] = None,
    require_licence: Annotated[
        bool, typer.Option("--require-licence", help="Refuse if an image has no licence.")
    ] = False,
    pipeline: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A pipeline file of your own, copied from cap.py.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write captions and transcripts as PixMo-Cap publishes them, with images and provenance in a second configuration.

    **Examples**

    `pixmo export cap my-captions --licence odc-by`

    `python -c "import pixmo.export; print(pixmo.export.load('my-captions')['train'][0])"`
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from pixmo.export.service import cap as export_cap

    columns = (TextColumn("Exporting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with opened_store() as context, Progress(*columns, console=err, transient=True, disable=json) as bar:
        line = bar.add_task("export", total=None)
        summary = export_cap(
            context.db,
            context.storage,
            context.settings,
            folder,
            campaign=campaign,
            licence=licence,
            require_licence=require_licence,
            recipe=pipeline,
            progress=lambda done, total: bar.update(line, completed=done, total=total),
        )
    if json:
        print_json(summary.report())
        return
    counts = summary.counts
    out.print(
        f"[bold]{folder}[/]: {counts.rows:,} captions of {counts.images:,} images, {counts.transcripts:,} transcripts, "
        f"{counts.voiced_seconds / 3600:.1f} h of speech.",
        highlight=False,
    )
    if counts.unlicensed_images:
        err.print(
            f"[yellow]Images without a licence: {counts.unlicensed_images:,}.[/] To refuse them: --require-licence"
        )
    if withdrawn := summary.left_out.get("withdrawn"):
        err.print(f"[yellow]Captions left out because an answer was withdrawn since: {withdrawn:,}.[/]")
    if summary.waiting:
        err.print(f"[yellow]Finished tasks that wait for a caption: {summary.waiting:,}.[/] Run: pixmo worker")
    err.print(f"""Load it with: python -c "import pixmo.export; print(pixmo.export.load('{folder}'))" """.rstrip())


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="An exported folder.")],
    signer: Annotated[str | None, typer.Option(help="Key id that must have signed every receipt.")] = None,
    json: JsonOption = False,
) -> None:
    """Check the files and receipts of an export. Needs neither the store nor a network.

    **Example:** `pixmo export verify my-captions --signer 3f9c0d5be21a7c44`
    """
    from pixmo.export.check import verify as check

    held = check(folder, signer=signer)
    if json:
        print_json({"files": held.files, "receipts": held.receipts, "keys": held.keys})
    else:
        out.print(f"{held.files} files and {held.receipts:,} receipts hold. Signed by: {', '.join(held.keys)}")
