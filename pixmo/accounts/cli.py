"""`pixmo invite`, `pixmo user ...`, `pixmo token ...`."""

from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Column, Table

from pixmo.console import JsonOption, err, opened_store, out, print_json

users = typer.Typer(
    no_args_is_help=True, help="See people; shut one out or let one in again.", rich_markup_mode="markdown"
)
tokens = typer.Typer(
    no_args_is_help=True, help="API tokens, with which scripts act as a person.", rich_markup_mode="markdown"
)

Who = Annotated[str, typer.Argument(metavar="ID|EMAIL", help="The person.")]
RoleName = Literal["annotator", "reviewer", "admin"]


def invite(
    role: Annotated[RoleName, typer.Option(help="What the person may do.")] = "annotator",
    name: Annotated[str | None, typer.Option(help="Name to suggest on the join page.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Campaign to open after joining.")] = None,
    known: Annotated[
        str | None, typer.Option("--for", metavar="ID|EMAIL", help="Sign a known person in again.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=365, help="Days until the link ends. Default: the setting invite_days.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Number of links, one per person.")] = 1,
    json: JsonOption = False,
) -> None:
    """Print a link that lets one person in, once.

    **Examples**

    `pixmo invite --name Speaker --campaign street-scenes`

    `pixmo invite --count 20 --days 3 --json` for a script that sends them

    `pixmo invite --for speaker@example.org` for somebody who lost their sign-in or forgot their password
    """
    from pixmo.accounts import service
    from pixmo.accounts.models import Role

    if known is not None and (name is not None or count != 1 or role != "annotator"):
        raise typer.BadParameter("a known person has a name and a role already, and needs one link", param_hint="--for")
    with opened_store() as context, context.db.write() as session:
        user = service.find_person(session, known) if known is not None else None
        made = [
            service.create_invite(
                session,
                days=days or context.settings.invite_days,
                role=Role(role),
                display_name=name,
                campaign=campaign,
                user=user,
            )
            for _ in range(count)
        ]
        links = [
            {
                "link": service.join_link(context.settings, token),
                "role": row.role.value,
                "expires_at": row.expires_at.isoformat(),
            }
            for row, token in made
        ]
    if json:
        print_json(links)
        return
    for link in links:
        out.print(link["link"], style="cyan", soft_wrap=True, highlight=False)
    err.print(f"Works once, until {links[0]['expires_at'][:10]}, for one {links[0]['role']}.", style="dim")


@users.command("list")
def list_users(json: JsonOption = False) -> None:
    """List everybody."""
    from pixmo.accounts import service

    with opened_store() as context, context.db.read() as session:
        people = service.people(session)
    if json:
        print_json(
            [
                {
                    "id": user.id,
                    "display_name": user.display_name,
                    "email": user.email,
                    "role": user.role.value,
                    "created_at": user.created_at.isoformat(),
                    "disabled": user.disabled_at is not None,
                }
                for user in people
            ]
        )
        return
    table = Table(Column("id", no_wrap=True), "name", "e-mail", "role", "since", "", box=None, pad_edge=False)
    for user in people:
        state = "disabled" if user.disabled_at else ""
        table.add_row(user.id, escape(user.display_name), user.email, user.role, f"{user.created_at:%Y-%m-%d}", state)
    out.print(table)


@users.command()
def disable(who: Who) -> None:
    """Shut a person out at once. What they recorded stays.

    **Example:** `pixmo user disable speaker@example.org`
    """
    from pixmo.accounts import service

    with opened_store() as context, context.db.write() as session:
        user = service.find_person(session, who)
        service.disable(session, user)
    err.print(f"{user.display_name} is shut out: sessions, API tokens and links have ended.", markup=False)


@users.command()
def enable(who: Who) -> None:
    """Let a disabled person in again.

    **Example:** `pixmo user enable speaker@example.org`
    """
    from pixmo.accounts import service

    with opened_store() as context, context.db.write() as session:
        user = service.find_person(session, who)
        service.enable(session, user)
    err.print(f"{user.display_name} may come in again. Next: pixmo invite --for {user.id}", markup=False)


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    known: Annotated[str, typer.Option("--for", metavar="ID|EMAIL", help="The person that the script acts as.")],
) -> None:
    """Print a new token, for the only time.

    **Example:** `pixmo token create nightly-report --for speaker@example.org`, then

    `curl -H "Authorization: Bearer TOKEN" http://127.0.0.1:8000/api/admin/status`
    """
    from pixmo.accounts import service, sessions

    with opened_store() as context, context.db.write() as session:
        user = service.find_person(session, known)
        _, token = sessions.create_api_token(session, user.id, name)
    out.print(token, style="cyan", soft_wrap=True, highlight=False)
    err.print(f"It acts as {user.display_name} ({user.role}) and is not shown again.", style="dim", markup=False)


@tokens.command("list")
def list_tokens(json: JsonOption = False) -> None:
    """List the tokens that work."""
    from pixmo.accounts import sessions

    with opened_store() as context, context.db.read() as session:
        found = sessions.api_tokens(session)
    if json:
        print_json(
            [
                {
                    "id": token.id,
                    "name": token.name,
                    "user": owner,
                    "created_at": token.created_at.isoformat(),
                    "last_used_at": token.last_used_at and token.last_used_at.isoformat(),
                }
                for token, owner in found
            ]
        )
        return
    table = Table(Column("id", no_wrap=True), "name", "acts as", "created", "last used", box=None, pad_edge=False)
    for token, owner in found:
        used = f"{token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never"
        table.add_row(token.id, escape(token.name), escape(owner), f"{token.created_at:%Y-%m-%d}", used)
    out.print(table)


@tokens.command()
def revoke(token_id: Annotated[str, typer.Argument(metavar="ID", help="From: pixmo token list")]) -> None:
    """End a token at once.

    **Example:** `pixmo token revoke 01980f3a-6c1e-7c52-9f0e-3b8d5a4e2f10`
    """
    from pixmo.accounts import sessions

    with opened_store() as context, context.db.write() as session:
        sessions.revoke_api_token(session, token_id)
    err.print("The token has ended.")
