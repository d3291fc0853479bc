"""`pixmo invite`, `pixmo user ...`, `pixmo token ...`."""

import json
from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pixmo.accounts import service, sessions
from pixmo.accounts.models import Role
from pixmo.context import Context
from pixmo.settings import Settings

users = typer.Typer(help="See people; shut one out or let one in again.", no_args_is_help=True)
tokens = typer.Typer(help="API tokens, with which scripts act as a person.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Who = Annotated[str, typer.Argument(help="Id or e-mail address of the person.")]


def _open() -> closing[Context]:
    return closing(Context.open(Settings()))


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="bold")


def invite(
    role: Annotated[Role, typer.Option(help="What the person may do.")] = Role.annotator,
    name: Annotated[str | None, typer.Option(help="Name to suggest on the join page.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Campaign to open after joining.")] = None,
    known: Annotated[
        str | None, typer.Option("--for", metavar="ID|EMAIL", help="Sign a known person in again.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=365, help="Days until the link ends; by default PIXMO_INVITE_DAYS.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of links, one per person.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Print a link that lets one person in, once.

    One annotator, who then sees the campaign street-signs:

        pixmo invite --name "Robin" --campaign street-signs

    Twenty links for a class, for a script to send:

        pixmo invite --count 20 --days 3 --json

    Somebody who lost their cookie or forgot their password:

        pixmo invite --for robin@example.org
    """
    if known is not None and (name is not None or count != 1 or role is not Role.annotator):
        raise typer.BadParameter("a known person has a name and a role already, and needs one link", param_hint="--for")
    with _open() as context, context.db.write() as session:
        user = service.find_person(session, known) if known is not None else None
        made = [
            service.create_invite(
                session,
                days=days or context.settings.invite_days,
                role=role,
                display_name=name,
                campaign=campaign,
                user=user,
            )
            for _ in range(count)
        ]
        links = [
            {
                "link": service.join_link(context.settings, token),
                "role": row.role,
                "expires_at": row.expires_at.isoformat(),
            }
            for row, token in made
        ]
    if as_json:
        typer.echo(json.dumps(links, indent=2))
        return
    for link in links:
        typer.echo(link["link"])
    typer.echo(f"Each works once, until {links[0]['expires_at'][:10]}, for the role {links[0]['role']}.", err=True)


@users.command("list")
def list_users(as_json: AsJson = False) -> None:
    """List everybody."""
    with _open() as context, context.db.read() as session:
        people = service.people(session)
    if as_json:
        rows = [
            {
                "id": user.id,
                "display_name": user.display_name,
                "email": user.email,
                "role": user.role,
                "created_at": user.created_at.isoformat(),
                "disabled": user.disabled_at is not None,
            }
            for user in people
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = _table("id", "name", "e-mail", "role", "since", "")
    for user in people:
        state = "disabled" if user.disabled_at else ""
        table.add_row(user.id, user.display_name, user.email, user.role, f"{user.created_at:%Y-%m-%d}", state)
    Console().print(table)


@users.command()
def disable(who: Who) -> None:
    """Shut a person out at once. What they recorded stays.

    pixmo user disable robin@example.org
    """
    with _open() as context, context.db.write() as session:
        user = service.find_person(session, who)
        service.disable(session, user)
    typer.echo(f"{user.display_name} is shut out: sessions, API tokens and links have ended.")


@users.command()
def enable(who: Who) -> None:
    """Let a disabled person in again.

    pixmo user enable robin@example.org
    """
    with _open() as context, context.db.write() as session:
        user = service.find_person(session, who)
        service.enable(session, user)
    typer.echo(f"{user.display_name} may come in again. Make a link with: pixmo invite --for {user.id}")


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    known: Annotated[str, typer.Option("--for", metavar="ID|EMAIL", help="The person that the script acts as.")],
) -> None:
    """Print a new token, for the only time.

    A nightly script that reads the progress:

        pixmo token create nightly-report --for robin@example.org

        curl -H "Authorization: Bearer pixmo_..." http://127.0.0.1:8000/api/admin/status
    """
    with _open() as context, context.db.write() as session:
        user = service.find_person(session, known)
        _, token = sessions.create_api_token(session, user.id, name)
    typer.echo(token)
    typer.echo(f"It acts as {user.display_name} ({user.role}) and is not shown again.", err=True)


@tokens.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List the tokens that work."""
    with _open() as context, context.db.read() as session:
        found = sessions.api_tokens(session)
    if as_json:
        rows = [
            {
                "id": token.id,
                "name": token.name,
                "user": owner,
                "created_at": token.created_at.isoformat(),
                "last_used_at": token.last_used_at and token.last_used_at.isoformat(),
            }
            for token, owner in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = _table("id", "name", "acts as", "created", "last used")
    for token, owner in found:
        used = f"{token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never"
        table.add_row(token.id, token.name, owner, f"{token.created_at:%Y-%m-%d}", used)
    Console().print(table)


@tokens.command()
def revoke(token_id: Annotated[str, typer.Argument(help="The token's id, from: pixmo token list")]) -> None:
    """End a token at once."""
    with _open() as context, context.db.write() as session:
        sessions.revoke_api_token(session, token_id)
    typer.echo("The token has ended.")
