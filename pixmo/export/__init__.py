"""Data sets out of the store, as immutable versions.

`create` makes a version, `load` reads one, `compare` tells two apart, `verify` checks one offline, `push` sends one to
the Hub, `check_links` and `materialize` care for images that are addresses, `take_down` keeps something out of every
later version, and `to_molmo` lays a version out for the original Molmo reader.

The functions are imported when they are used, because the command line imports this package for its `--help`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixmo.export.diff import compare
    from pixmo.export.hub import push
    from pixmo.export.links import check_links
    from pixmo.export.loading import load
    from pixmo.export.materializing import materialize
    from pixmo.export.molmo_layout import relocate, to_molmo
    from pixmo.export.service import create
    from pixmo.export.takedown import take_down
    from pixmo.export.verification import verify
    from pixmo.export.versions import resolve

__all__ = [
    "check_links", "compare", "create", "load", "materialize", "push", "relocate", "resolve", "take_down", "to_molmo", "verify",
]  # fmt: skip

_MODULES = {
    "check_links": "links",
    "compare": "diff",
    "create": "service",
    "load": "loading",
    "materialize": "materializing",
    "push": "hub",
    "relocate": "molmo_layout",
    "resolve": "versions",
    "take_down": "takedown",
    "to_molmo": "molmo_layout",
    "verify": "verification",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
