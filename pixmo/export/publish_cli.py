"""`pixmo push`, `takedown`, `check-links` and `materialize`: versions and their images after they were made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixmo.console import JsonOption, err, opened_store, out, print_json
from pixmo.export.cli import Target, bar, store_if_any

if TYPE_CHECKING:
    from pixmo.export.fetching import FetchOptions
    from pixmo.export.takedown import TakenDown

_Private = Annotated[bool, typer.Option("--allow-private-urls", help="Also ask addresses inside the local network.")]


def push(
    target: Target,
    repo: Annotated[str, typer.Argument(help="Data-set repository on the Hub, as my-org/my-captions.")],
    public: Annotated[bool, typer.Option("--public", help="Make the repository public. Default: private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and send nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring a version to the Hugging Face Hub: one commit, tagged vX.Y.Z. Sign in with `hf auth login` or HF_TOKEN.

    Files that the repository has already are not sent again. An interrupted push goes on when it is started again.

    **Example:** `pixmo push cap@1.0.0 my-org/my-captions --dry-run`
    """
    from rich.filesize import decimal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from pixmo.export import hub
    from pixmo.export.service import record_push
    from pixmo.export.versions import resolve

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with (
        store_if_any() as context,
        Progress(*columns, console=err, transient=True, disable=json or not err.is_terminal) as progress,
    ):
        version = resolve(target, context)
        line = progress.add_task("Looking", total=None)

        def tell(stage: str, done: int, total: int) -> None:
            progress.update(line, description=stage, completed=done, total=total)

        pushed = hub.push(version.path, repo, private=not public, dry_run=dry_run, progress=tell)
        if context is not None and pushed.sha is not None and not dry_run:
            record_push(context, version, repo, pushed.sha, pushed.plan.tag)
    plan, changes = pushed.plan, pushed.plan.changes
    if json:
        print_json({
            "version": version.title, "repo": repo, "tag": plan.tag, "url": plan.url, "private": plan.private,
            "new_repo": plan.new_repo, "sha": pushed.sha, "dry_run": dry_run, "already_there": plan.already_there,
            "bytes": changes.bytes_to_send if dry_run else pushed.bytes_sent,
            **{kind: [file.path for file in getattr(changes, kind)] for kind in ("added", "replaced", "deleted")},
            "kept": len(changes.kept),
        })  # fmt: skip
        return
    if plan.already_there:
        out.print(f"[bold]{version.title}[/] is there already: {plan.url}", highlight=False, soft_wrap=True)
        return
    if dry_run:
        for kind, sign in (("added", "+"), ("replaced", "~"), ("deleted", "-")):
            for file in getattr(changes, kind):
                out.print(f"{sign} {file.path} {decimal(file.bytes)}", highlight=False, markup=False)
        kind = "private" if plan.private else "public"
        out.print(
            f"Would send {decimal(changes.bytes_to_send)} to the {'new ' if plan.new_repo else ''}{kind} repository {repo}, "
            f"keep {len(changes.kept):,} files, and tag it {plan.tag}.",
            highlight=False,
            soft_wrap=True,
        )
        return
    out.print(f"[bold]{version.title}[/] is at {plan.url}, tag {plan.tag}.", highlight=False, soft_wrap=True)


def takedown(
    image: Annotated[
        str | None, typer.Option(help="An image: the SHA-256 of its file, its address, or its id.")
    ] = None,
    annotator: Annotated[
        str | None, typer.Option(help="A person: their pseudonym in a version, e-mail address or id.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the store, not published.")] = None,
    patch: Annotated[
        bool, typer.Option("--patch", help="Also make a patched version of each version that holds it.")
    ] = False,
    erase: Annotated[
        bool, typer.Option("--erase", help="Also delete the image's bytes, or the person's recordings, for good.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the take-down back.")] = False,
    json: JsonOption = False,
) -> None:
    """Keep an image, or all that a person made, out of every later version, and list the earlier ones that hold it.

    **Examples**

    `pixmo takedown --image https://photos.example/1.jpg --patch`

    `pixmo takedown --annotator a_3f9c0d5be2 --reason "withdrew consent" --erase`
    """
    from pixmo.errors import Unprocessable
    from pixmo.export import takedown as service

    if (image is None) == (annotator is None):
        raise Unprocessable("Say what to take down: --image or --annotator.")
    subject, name = ("image", image) if image is not None else ("annotator", annotator)
    with opened_store() as context:
        if undo:
            subject_id = service.put_back(context, subject, name or "")
            if json:
                print_json({"subject": subject, "subject_id": subject_id, "taken_down": False})
            else:
                out.print(f"The {subject} is back, and in the next versions.")
            return
        found = service.take_down(context, subject, name or "", reason=reason)
        erased = None
        if erase and (
            yes or typer.confirm(f"Delete what belongs to this {subject} from the store for good?", err=True)
        ):
            erased = service.erase(context, subject, found.subject_id)
        patched = []
        for one in found.held_by if patch else []:
            with bar(f"Patching {one.version}", quiet=json) as progress:
                patched.append(service.patch(context, one.version, progress=progress).folder.title)
    if json:
        print_json(found.report() | {"taken_down": True, "patched": patched, "erased": erased})
        return
    _show_taken_down(found, patched)
    if erased is not None:
        out.print(f"Erased: {erased:,} files of the store.", highlight=False)


def _show_taken_down(found: "TakenDown", patched: list[str]) -> None:
    out.print(
        f"Taken down: {found.subject} {found.subject_id}. No later version will hold it.",
        highlight=False,
        soft_wrap=True,
    )
    for one in found.held_by:
        pushed = f", pushed to {', '.join(one.pushed)}" if one.pushed else ""
        out.print(f"  [yellow]{one.version}[/] holds {one.rows:,} rows of it{pushed}", highlight=False, soft_wrap=True)
    if found.missing:
        err.print(f"[yellow]Their folders are gone, so nothing can be told of: {', '.join(found.missing)}[/]")
    if patched:
        out.print(f"Patched: {', '.join(patched)}", highlight=False, soft_wrap=True)
        err.print("The old versions stay until you remove their folders, and their tags on the Hub.")
    elif found.held_by:
        err.print("To make patched versions of these: add --patch")


def check_links(
    target: Annotated[str, typer.Argument(help="A version, or a folder or parquet file with a column image_url.")],
    report: Annotated[Path | None, typer.Option(help="Write what became of each address to this parquet file.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only ask whether addresses answer; do not compare the images.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 32,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 20.0,
    retries: Annotated[int, typer.Option(min=0, help="Tries after the first, where trying again can help.")] = 3,
    allow_private: _Private = False,
    json: JsonOption = False,
) -> None:
    """Ask every image address whether it still gives the image that was annotated. An interrupted check goes on.

    **Example:** `pixmo check-links points@1.0.0 --report links.parquet`
    """
    from pixmo.export.links import check_links as check

    options = _options(concurrency, timeout, retries, allow_private)
    with bar("Checking links", quiet=json) as progress:
        found = check(
            _tables(target), report=report, match=not quick, options=options,
            progress=lambda done: progress(done.done, done.total),
        )  # fmt: skip
    summary = found.summary(hosts=None if json else 10)
    if json:
        print_json(summary)
        return
    out.print(f"{summary['checked']:,} addresses.", highlight=False, soft_wrap=True)
    for status, one in summary["statuses"].items():
        out.print(
            f"{status.replace('_', ' '):>22} {one['count']:>9,} {one['share']:>7.1%}", highlight=False, soft_wrap=True
        )
    for host, of_host in summary["hosts"].items():
        parts = ", ".join(
            f"{status.replace('_', ' ')} {one['share']:.0%}" for status, one in of_host["statuses"].items()
        )
        out.print(f"{host or 'no host'}: {of_host['links']:,} ({parts})", style="dim", highlight=False, soft_wrap=True)


def materialize(
    target: Annotated[str, typer.Argument(help="A version, or a folder or parquet file with a column image_url.")],
    to: Annotated[Path, typer.Argument(help="Folder for the images.")],
    names: Annotated[
        str, typer.Option(help="url: SHA-256 of the address, as the Molmo reader wants; sha256: of the image.")
    ] = "url",
    recheck: Annotated[bool, typer.Option("--recheck", help="Compare what is there already, too.")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Refuse re-encoded copies, even if their pixels are the same.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 32,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 20.0,
    retries: Annotated[int, typer.Option(min=0, help="Tries after the first, where trying again can help.")] = 3,
    allow_private: _Private = False,
    json: JsonOption = False,
) -> None:
    """Put every image of a version into a folder: from its files, or from its address, checked by hash.

    What is there is kept, so an interrupted run goes on. Addresses without an image are listed in failures.jsonl, and
    the command then ends with 1.

    **Example:** `pixmo materialize points@1.0.0 molmo-data/torch_datasets/pixmo_images`
    """
    from pixmo.errors import Unprocessable
    from pixmo.export.materializing import materialize as run

    if names not in ("url", "sha256"):
        raise Unprocessable(f"Files are named by url or sha256, not by {names!r}.")
    options = _options(concurrency, timeout, retries, allow_private)
    with bar("Images", quiet=json) as progress:
        done = run(
            _tables(target), to, names=names, accept_pixels=not exact, recheck=recheck, options=options,  # type: ignore[arg-type]
            progress=lambda so_far: progress(so_far.done, so_far.total),
        )  # fmt: skip
    if json:
        print_json(done.summary())
    else:
        came = ", ".join(f"{number:,} {origin}" for origin, number in done.origins.items()) or "none"
        out.print(f"Images in {to}: {came}.", highlight=False, soft_wrap=True)
        if done.failures is not None:
            reasons = ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in done.failed.items())
            err.print(
                f"[yellow]Without an image: {reasons}.[/] Each is named in {done.failures}. Run it again to go on."
            )
    if done.failed:
        raise typer.Exit(1)


def _options(concurrency: int, timeout: float, retries: int, allow_private: bool) -> "FetchOptions":
    from pixmo.export.fetching import FetchOptions

    return FetchOptions(concurrency=concurrency, timeout=timeout, retries=retries, allow_private=allow_private)


def _tables(target: str) -> Path:
    """A path as it is, or the folder of a version by its name."""
    from pixmo.export.versions import resolve

    if Path(target).exists():
        return Path(target)
    with store_if_any() as context:
        return resolve(target, context).path
