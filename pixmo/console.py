"""What commands share: the console, `--json`, and how an error becomes one line.

Progress and remarks go to standard error, results to standard output, so that a script can read them.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pixmo.context import Context

out = Console()
err = Console(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


@contextmanager
def opened_store() -> Iterator["Context"]:
    """The store of this folder's settings, closed at the end. Raises `SetupError` if there is none."""
    from pixmo.context import Context
    from pixmo.settings import Settings

    context = Context.open(Settings())
    try:
        yield context
    finally:
        context.close()
