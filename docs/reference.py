"""`python -m docs.reference`: writes docs/reference.md from the code, which is what a test compares it with."""

from pathlib import Path

import typer
from typer.core import TyperGroup

from pixmo import openapi
from pixmo.cli import app
from pixmo.settings import Settings

PATH = Path(__file__).parent / "reference.md"


def settings() -> list[str]:
    lines = ["## Settings", "", "In `pixmo.toml` by name, or in the environment with the prefix.", "",
             "| variable | default | what for |", "|---|---|---|"]  # fmt: skip
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `PIXMO_{name.upper()}` | {default} | {field.description} |")
    return lines


def commands() -> list[str]:
    lines = ["## Commands", "", "Each has `--help` with examples; those that report have `--json`.", "",
             "| command | what it does |", "|---|---|"]  # fmt: skip
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        parts = command.commands if isinstance(command, TyperGroup) else {"": command}
        for part, leaf in parts.items():
            first = (leaf.help or "").strip().partition("\n")[0]
            lines.append(f"| `pixmo {name}{' ' + part if part else ''}` | {first} |")
    return lines


def routes() -> list[str]:
    lines = ["## API", "", "Described in full at `/api/openapi.json`. Sign in with the page's cookie, or with a token",
             "from `pixmo token create` as `Authorization: Bearer ...`. Errors are problem documents (RFC 9457).", "",
             "| route | what it does |", "|---|---|"]  # fmt: skip
    for path, methods in openapi.document()["paths"].items():
        for method, operation in methods.items():
            lines.append(f"| `{method.upper()} {path}` | {operation['description'].partition(chr(10))[0]} |")
    return lines


def text() -> str:
    """The whole page."""
    head = ["# Reference", "", "Written by `python -m docs.reference`.", ""]
    return "\n".join([*head, *settings(), "", *commands(), "", *routes(), ""])


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
