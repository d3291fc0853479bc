"""Which number a new version gets: the least that its changes demand, or a higher one."""

from pixmo.errors import Conflict
from pixmo.export.build import Options
from pixmo.export.diff import Changes
from pixmo.export.versions import FIRST, Folder, NoVersion, Number


class NumberTaken(Conflict):
    """The version exists, or a later one does."""

    code = "version_taken"
    title = "This version number cannot be given"


class BumpTooSmall(Conflict):
    """The number promises less change than there is."""

    code = "bump_too_small"
    title = "This version number promises too little"


def next_number(parent: Folder | None, part: str) -> Number:
    return FIRST if parent is None else parent.number.bumped(part)


def numbered(
    parent: Folder | None, options: Options, number: Number | None, bump: str, changes: Changes | None
) -> Number | None:
    """The number of the new version; None if nothing changed. Raises `BumpTooSmall`."""
    if parent is None:
        return number or FIRST
    if changes is None:
        if number is None:
            raise NoVersion(
                f"{parent.path} is missing or damaged, so what changed since cannot be told. Restore it, or give "
                "the new version's number with --version."
            )
        return number
    needed = changes.bump
    before = Options(**parent.manifest["settings"])
    if before.images != options.images or before.plain != options.plain:
        needed = "major"
    elif needed is None and before != options:
        needed = "patch"
    if number is None and bump == "auto":
        return None if needed is None else parent.number.bumped(needed)
    chosen = number or parent.number.bumped(bump)
    if needed is not None and chosen < parent.number.bumped(needed):
        raise BumpTooSmall(
            f"The changes since {parent.title} need at least {parent.number.bumped(needed)}: "
            f"{explain(changes)} Leave the number to --bump auto, or choose a higher one."
        )
    return chosen


def explain(changes: Changes) -> str:
    """Changes in a sentence."""
    parts = []
    if reshaped := changes.schema + changes.provenance:
        parts.append(f"columns changed in {', '.join(reshaped)}")
    for kind in ("added", "corrected", "removed"):
        counts = getattr(changes, kind)
        if counts:
            parts.append(f"{kind}: " + ", ".join(f"{number:,} in {split}" for split, number in counts.items()))
    return f"{'; '.join(parts)}." if parts else "nothing but the options changed."
