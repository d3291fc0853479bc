"""The `pixmo` command. Commands import what they need when they run, so that `--help` answers at once."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixmo import __version__
from pixmo.accounts.cli import invite, tokens, users
from pixmo.campaigns.cli import app as campaign_app
from pixmo.console import JsonOption, err, opened_store, out, print_json
from pixmo.errors import PixmoError, SetupError
from pixmo.export.cli import diff, export, split_app, verify, versions
from pixmo.export.publish_cli import check_links, materialize, push, takedown
from pixmo.images.cli import ingest

if TYPE_CHECKING:
    from pixmo.context import Context

HELP = """
Build a vision-language data set the way PixMo was built: people speak about images.

**A first look:** `pixmo serve --demo`

**The whole road**

`pixmo init` → `pixmo ingest FOLDER` → `pixmo campaign create NAME` → `pixmo invite` → `pixmo serve` → `pixmo export cap` → `pixmo push`

Settings come from `pixmo.toml` or `PIXMO_*` variables; the store is the folder `pixmo-data`.
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def init(json: JsonOption = False) -> None:
    """Make a store in this folder and print the first admin's invite link. Running it again harms nothing.

    **Example:** `mkdir my-dataset && cd my-dataset && pixmo init`
    """
    from pixmo import setup
    from pixmo.settings import Settings

    settings = Settings()
    new = setup.prepare(settings)
    with opened_store() as context:
        link = None if setup.has_admin(context) else setup.admin_link(context)
    if json:
        print_json({"data_dir": settings.store_dir, "new": new, "admin_link": link})
        return
    out.print(f"The store is in [bold]{settings.data_dir}[/]." if new else "The store is there and up to date.")
    if link:
        out.print("Admin's invite link (works once, after [bold]pixmo serve[/]):")
        out.print(link, style="cyan", soft_wrap=True)
    err.print("Next: pixmo ingest FOLDER")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: 8000.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Load demo images, ready to speak about.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes to run beside the server; 0 for none.")] = 1,
    tls_cert: Annotated[
        Path | None, typer.Option(exists=True, help="Certificate: browsers give the microphone to https only.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(exists=True, help="Key of the certificate.")] = None,
) -> None:
    """Serve the annotation page, with a worker that transcribes what people say.

    **Examples**

    `pixmo serve --demo`

    `pixmo serve --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem`

    `pixmo serve --workers 0` and, in other terminals, `pixmo worker`
    """
    from pixmo import setup
    from pixmo.accounts import service as accounts
    from pixmo.context import Context
    from pixmo.serve import serve as run
    from pixmo.settings import Settings

    chosen = {key: value for key, value in {"host": host, "port": port}.items() if value is not None}
    if (tls_cert is None) != (tls_key is None):
        raise SetupError("--tls-cert and --tls-key belong together.")
    settings = Settings(**chosen)  # type: ignore[arg-type]
    if tls_cert and settings.public_url is None:
        settings.public_url = accounts.address(settings).replace("http:", "https:", 1)
    if demo or (settings.store_dir / "pixmo.db").exists() or settings.database_url is not None:
        setup.prepare(settings)
    context = Context.open(settings)
    try:
        if demo:
            setup.load_demo(context)
        run(
            settings,
            workers=workers,
            tls_cert=tls_cert,
            tls_key=tls_key,
            ready=lambda: _greet(context, demo=demo),
        )
    finally:
        context.close()


def _greet(context: "Context", *, demo: bool) -> None:
    from pixmo import setup
    from pixmo.accounts import service as accounts

    out.print(f"\n  pixmo {__version__}   {accounts.address(context.settings)}\n", highlight=False)
    if demo:
        out.print("  Speak at once (annotator's link, works once):")
        out.print(f"  {setup.demo_link(context)}\n", style="cyan", soft_wrap=True, highlight=False)
    if not setup.has_admin(context):
        out.print("  Administrate (admin's link, works once):")
        out.print(f"  {setup.admin_link(context)}\n", style="cyan", soft_wrap=True, highlight=False)
    err.print("  Stop with Ctrl+C. Export what was said with: pixmo export cap\n", style="dim")


@app.command()
def worker(parent: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Transcribe takes and make captions until stopped. Run as many as you like, on any machine that sees the store.

    **Example:** `PIXMO_ASR_MODEL=large-v3 pixmo worker`
    """
    from pixmo.worker import run

    with opened_store() as context:
        run(context, parent=parent)


@app.command()
def status(json: JsonOption = False) -> None:
    """Progress, jobs, workers, people.

    **Example:** `pixmo status --json | jq .jobs`
    """
    from pixmo import status as overview
    from pixmo.status_view import show

    with opened_store() as context:
        report = overview.read(context)
    if json:
        print_json(report.model_dump(mode="json"))
    else:
        show(report)


@app.command()
def retry(
    job: Annotated[str, typer.Argument(help="transcribe or caption")],
    subject_id: Annotated[str, typer.Argument(help="The id that `pixmo status` shows.")],
) -> None:
    """Start a parked job again.

    **Example:** `pixmo retry transcribe 0199f3c2-...`
    """
    from pixmo import audit
    from pixmo.jobs import Jobs

    with opened_store() as context:
        jobs = Jobs(context.settings.database)
        with context.db.write() as session:
            jobs.retry(session, job, subject_id)
            audit.record(session, None, "job.retried", job, subject_id)
        jobs.close()
    out.print("Queued again.")


app.command("ingest")(ingest)
app.command("invite")(invite)
for command in (export, versions, diff, verify, push, takedown, materialize):
    app.command()(command)
app.command("check-links")(check_links)
app.add_typer(campaign_app, name="campaign")
app.add_typer(split_app, name="split")
app.add_typer(users, name="user")
app.add_typer(tokens, name="token")


def main() -> None:
    """Run the command; an error that pixmo knows is one line, with the traceback only on `--debug`."""
    try:
        app()
    except PixmoError as error:
        if "--debug" in sys.argv:
            raise
        err.print("pixmo: ", style="red", end="")
        err.print(error.detail, highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
