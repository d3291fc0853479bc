"""`pixmo export`, `versions`, `diff`, `verify` and `split`: data sets as immutable versions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pixmo.console import JsonOption, err, opened_store, out, print_json

if TYPE_CHECKING:
    from pixmo.export.diff import Changes
    from pixmo.export.service import Created

Target = Annotated[str, typer.Argument(help="A version, as cap@1.0.0; cap for the newest; or its folder.")]
NAMES = "cap, points, points-eval, point-explanations, count, ask-model-anything, cap-qa, docs, clocks"


@contextmanager
def bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error that is told (done, total)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal) as progress:
        line = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(line, completed=done, total=total)


def export(
    name: Annotated[str, typer.Argument(help=f"The data set: {NAMES}.")],
    version: Annotated[str | None, typer.Option(help="Number of the version, as 1.2.0. Default: see --bump.")] = None,
    bump: Annotated[
        str, typer.Option(help="Which part of the last number grows: auto, major, minor or patch.")
    ] = "auto",
    images: Annotated[
        str | None,
        typer.Option(help="embed: inside the parquet files; repo: files beside them; url: where they came from."),
    ] = None,
    repo: Annotated[str | None, typer.Option(help="ORG/NAME on the Hub, to which --images repo points.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Only this campaign; '' for all again.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of the annotations, as odc-by.")] = None,
    require_licence: Annotated[
        bool | None, typer.Option("--require-licence/--allow-unlicensed", help="Refuse images without a licence.")
    ] = None,
    plain: Annotated[
        bool | None, typer.Option("--plain/--enriched", help="Only the published columns, without provenance.")
    ] = None,
    balanced_eval: Annotated[
        int | None, typer.Option(help="count: rows for each number in validation and test.")
    ] = None,
    pipeline: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A pipeline file of your own, copied from cap.py.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="molmo: also lay the newest version out for the original Molmo reader.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder of the layout: $MOLMO_DATA_DIR of the reader.")] = None,
    image_folder: Annotated[
        Path | None, typer.Option(help="Images for the layout, as `pixmo materialize` puts them.")
    ] = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Leave rows without image out of it.")] = False,
    json: JsonOption = False,
) -> None:
    """Freeze what the store holds as a new, immutable version of a data set: `exports/NAME@X.Y.Z`.

    Options that you do not give are those of the version before. If nothing changed, nothing is written. An export
    that was interrupted goes on where it stopped.

    **Examples**

    `pixmo export cap --licence odc-by`

    `pixmo export points --version 2.0.0 --images repo --repo my-org/my-points`

    `pixmo export cap --layout molmo --to molmo-data`
    """
    from pixmo.errors import Unprocessable
    from pixmo.export.service import create

    if layout not in (None, "molmo") or (layout is None) != (to is None):
        raise Unprocessable("--layout molmo and --to FOLDER belong together.")
    with opened_store() as context, bar(f"Exporting {name}", quiet=json) as progress:
        created = create(
            context, name, version=version, bump=bump, recipe=pipeline, progress=progress, images=images, repo=repo,
            campaign=campaign, licence=licence, require_licence=require_licence, plain=plain,
            balanced_eval=balanced_eval,
        )  # fmt: skip
        laid_out = None
        if to is not None:
            from pixmo.export.molmo_layout import to_molmo

            laid_out = to_molmo(
                created.folder, to, images=image_folder, skip_missing=skip_missing, progress=progress
            )  # fmt: skip
    if json:
        print_json(created.report() | ({"layout": str(to)} if laid_out else {}))
        return
    _show_created(created)
    if laid_out is not None:
        out.print(f"Laid out for the Molmo reader: MOLMO_DATA_DIR={to}", highlight=False)


def _show_created(created: "Created") -> None:
    from pixmo.export.numbering import explain

    folder, numbers = created.folder, created.folder.manifest["statistics"]
    if not created.new:
        out.print(
            f"Nothing changed since [bold]{folder.title}[/]. It is in {folder.path}.", highlight=False, soft_wrap=True
        )
        return
    rows = ", ".join(f"{number:,} {split}" for split, number in numbers["rows"].items())
    images = f", {numbers['images']:,} images" if numbers["images"] else ""
    out.print(f"[bold]{folder.title}[/]: {rows}{images}. It is in {folder.path}.", highlight=False, soft_wrap=True)
    if created.changes is not None:
        out.print(
            f"Since {folder.manifest['parent']['version']}: {explain(created.changes)}", highlight=False, soft_wrap=True
        )
    if numbers["unlicensed_images"]:
        err.print(
            f"[yellow]Images without a licence: {numbers['unlicensed_images']:,}.[/] To refuse them: --require-licence"
        )
    for reason, number in folder.manifest["left_out"].items():
        err.print(f"[yellow]Left out, {reason.replace('_', ' ')}: {number:,}.[/]")
    err.print(f"Next: pixmo verify {folder.title}, or pixmo push {folder.title} ORG/NAME")


def versions(
    name: Annotated[str | None, typer.Argument(help="Only this data set.")] = None, json: JsonOption = False
) -> None:
    """List the versions that were made, and where they went.

    **Example:** `pixmo versions cap`
    """
    from rich.table import Table

    from pixmo.export.sets import data_set
    from pixmo.export.versions import Folder, folder_of, pushes, recorded

    if name is not None:
        data_set(name)
    with opened_store() as context:
        with context.db.read() as session:
            rows, went = recorded(session, name), pushes(session)
        found = []
        for row in rows:
            path = folder_of(context.settings, row.name, row.version)
            folder = Folder.of_manifest(path, row.manifest.encode())
            found.append({
                "version": folder.title,
                "made": row.created_at,
                "rows": sum(folder.manifest["statistics"]["rows"].values()),
                "parent": folder.manifest["parent"] and folder.manifest["parent"]["version"],
                "changes": folder.manifest["changes"],
                "folder": str(path) if path.is_dir() else None,
                "pushed": [f"{push.repo} at {push.tag}" for push in went.get(row.id, [])],
                "manifest_sha256": row.manifest_sha256,
            })  # fmt: skip
    if json:
        print_json(found)
        return
    if not found:
        err.print("No version yet. Make one with: pixmo export NAME")
        return
    table = Table("version", "made", "rows", "changes", "folder", "pushed", box=None, header_style="bold")
    for one in found:
        changes = ", ".join(f"{number:,} {kind}" for kind, number in (one["changes"] or {}).items() if number)
        table.add_row(
            one["version"], f"{one['made']:%Y-%m-%d %H:%M}", f"{one['rows']:,}", changes or "first",
            (one["folder"] and "there") or "[yellow]gone[/]", "\n".join(one["pushed"]),
        )  # fmt: skip
    out.print(table)


def diff(
    a: Target,
    b: Target,
    rows: Annotated[int, typer.Option(min=0, help="Row ids to show of each kind of change.")] = 10,
    json: JsonOption = False,
) -> None:
    """Tell two versions apart: rows that came, went and were corrected, and in which columns.

    **Example:** `pixmo diff cap@1.0.0 cap@1.1.0 --json`
    """
    from pixmo.export.diff import compare

    with store_if_any() as context:
        from pixmo.export.versions import resolve

        old, new = resolve(a, context), resolve(b, context)
        changes = compare(old, new, keep_ids=rows)
    if json:
        print_json({"from": old.title, "to": new.title, **changes.report()})
        return
    out.print(f"[bold]{old.title}[/] → [bold]{new.title}[/]", highlight=False)
    _show_changes(changes)


def _show_changes(changes: "Changes") -> None:
    if changes.bump is None:
        out.print("The same rows.")
        return
    for config in changes.schema + changes.provenance:
        out.print(f"columns of {config} changed", highlight=False)
    for kind, colour in (("added", "green"), ("corrected", "yellow"), ("removed", "red")):
        for split, number in getattr(changes, kind).items():
            out.print(f"[{colour}]{kind:>9}[/] {number:>9,} rows in {split}", highlight=False)
        if ids := changes.row_ids.get(kind):
            out.print(f"{'':>9} row ids {', '.join(map(str, ids))}", style="dim", highlight=False)
    for column, number in changes.columns.most_common():
        out.print(f"{'':>9} {number:>9,} × {column}", highlight=False)
    out.print(f"A new version needs at least a {changes.bump} bump.", highlight=False)


def verify(
    target: Target,
    signer: Annotated[str | None, typer.Option(help="Key id that must have signed manifest and receipts.")] = None,
    json: JsonOption = False,
) -> None:
    """Check every file, hash, schema, count, split and signature of a version. Needs neither store nor network.

    **Example:** `pixmo verify cap@1.0.0 --signer 3f9c0d5be21a7c44`
    """
    from pixmo.export.verification import verify as check
    from pixmo.export.versions import resolve

    with store_if_any() as context, bar("Verifying", quiet=json) as progress:
        version = resolve(target, context)
        held = check(version.path, signer=signer, progress=progress)
    if json:
        print_json({"version": version.title, "files": held.files, "rows": held.rows, "receipts": held.receipts,
                    "keys": held.keys})  # fmt: skip
        return
    receipts = f", {held.receipts:,} receipts" if held.receipts else ""
    out.print(
        f"[bold]{version.title}[/] is whole: {held.files:,} files, {held.rows:,} rows{receipts}. "
        f"Signed by: {', '.join(held.keys)}",
        highlight=False,
        soft_wrap=True,
    )


split_app = typer.Typer(no_args_is_help=True, help="Train, validation, test: by cluster of near-duplicates, for ever.")


@split_app.command("show")
def show_splits(json: JsonOption = False) -> None:
    """Count the images of each split."""
    from pixmo.export.splits import shares_of, summary

    with opened_store() as context, context.db.read() as session:
        counts, shares = summary(session), shares_of(context.settings)
    if json:
        print_json({"images": counts, "shares": shares})
        return
    for name, number in counts.items():
        out.print(f"{name:>10} {number:>9,} images", highlight=False)
    out.print("`none` get their split with the first export.", style="dim")


@split_app.command("pin")
def pin_split(
    split: Annotated[str, typer.Argument(help="train, validation or test.")],
    campaign: Annotated[str | None, typer.Option(help="All images of this campaign.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A file with a SHA-256 or address of an image per line."),
    ] = None,
) -> None:
    """Put images, with their near-duplicates, into a split for ever. Possible until they are first exported.

    **Example:** `pixmo split pin test --campaign my-evaluation`
    """
    from pixmo.errors import Unprocessable
    from pixmo.export.splits import pin, pinnable

    if split not in ("train", "validation", "test") or (campaign is None) == (file is None):
        raise Unprocessable("Say which split (train, validation or test), and which images: --campaign or --file.")
    names = None if file is None else [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    with opened_store() as context, context.db.write() as session:
        number = pin(session, pinnable(session, campaign=campaign, names=names), split)
    out.print(f"Pinned to {split}: {number:,} images with their near-duplicates.", highlight=False)


@contextmanager
def store_if_any() -> Iterator[Any]:
    """The store of this folder, or None: versions can be looked at without one."""
    from pixmo.errors import SetupError

    try:
        store = opened_store()
        context = store.__enter__()
    except SetupError:
        yield None
        return
    try:
        yield context
    finally:
        store.__exit__(None, None, None)
