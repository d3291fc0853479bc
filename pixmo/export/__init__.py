"""Data sets out of the store: `pixmo.export.cap` writes one, `load` reads it, `verify` checks it.

The functions are loaded when they are used, because the command line imports this package for its `--help`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixmo.export.check import verify
    from pixmo.export.service import cap, load

__all__ = ["cap", "load", "verify"]


def __getattr__(name: str) -> Any:
    if name in ("cap", "load"):
        from pixmo.export import service

        return getattr(service, name)
    if name == "verify":
        from pixmo.export.check import verify

        return verify
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
