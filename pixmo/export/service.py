"""Making versions: a snapshot of the store becomes an immutable folder, and the store remembers it."""

import hashlib
import json
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from sqlalchemy import func, insert, select
from sqlalchemy.exc import OperationalError

import pixmo
from pixmo import audit
from pixmo.campaigns.models import Campaign
from pixmo.captions import receipt
from pixmo.context import Context
from pixmo.database import Base, ReadSession, WriteSession, table
from pixmo.errors import Conflict, NotFound, Unprocessable
from pixmo.export import diff, splits
from pixmo.export.build import Built, Options, build
from pixmo.export.compose import built_folder, compose, hub_address, image_path
from pixmo.export.diff import Changes
from pixmo.export.folder import FolderUnwritable, clean_up, lock, new_folder, sync, writable
from pixmo.export.models import DatasetPush, DatasetVersion, ImagePublication, ImageSplit, Takedown
from pixmo.export.numbering import NumberTaken, next_number, numbered
from pixmo.export.pages import Reading
from pixmo.export.recipe import edited, pipeline_of, recipe_sha256
from pixmo.export.segments import WRITER
from pixmo.export.sets import DataSet, data_set
from pixmo.export.versions import MANIFEST, Folder, NoVersion, Number, folder_of, recorded
from pixmo.images.models import Image
from pixmo.settings import Settings
from pixmo.storage import Storage
from pixmo.tasks.models import TaskEvent

Progress = Callable[[int, int], None]
_PARTS = ("patch", "minor", "major")
_PLACING = "placing.json"
_BATCH = 5_000


class NothingToExport(Unprocessable):
    code = "nothing_to_export"
    title = "There is nothing to export"


class SplitBroken(Conflict):
    """Never happens unless the store was changed by hand."""

    code = "split_broken"
    title = "A row would change its split"


class ImageDamaged(Conflict):
    code = "image_damaged"
    title = "A stored image is damaged"


@dataclass(frozen=True)
class Created:
    """What an export made. `new` is false if nothing had changed since `folder`, which is then the version before."""

    folder: Folder
    new: bool
    changes: Changes | None

    def report(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        manifest = self.folder.manifest
        return {
            "version": self.folder.title,
            "folder": str(self.folder.path),
            "new": self.new,
            "manifest_sha256": self.folder.manifest_sha256,
            "parent": manifest["parent"] and manifest["parent"]["version"],
            "changes": self.changes and self.changes.report(),
            "left_out": manifest["left_out"],
            **{name: value for name, value in manifest["statistics"].items() if name != "histograms"},
        }


@dataclass(frozen=True)
class Plan:
    """One export: the set, its options, what it stands on, and where it goes."""

    context: Context
    data_set: DataSet
    options: Options
    parent: Folder | None
    recipe: Path | None
    root: Path

    @property
    def work(self) -> Path:
        """Finished segments of an attempt that was interrupted."""
        return self.root / f".{self.data_set.name}.work"


def create(
    context: Context,
    name: str,
    *,
    version: str | None = None,
    bump: str = "auto",
    recipe: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Created:
    """Freeze what the store holds as a new version of the data set `name`, in `exports/NAME@X.Y.Z`.

    `version` is its number; else `bump` (`auto`, `major`, `minor` or `patch`) says which part of the last one grows;
    `auto` takes the least that the changes demand. `options` are those of `Options`; what is not given, or None, is as
    in the version before, and an empty text takes it back. `recipe`: a pipeline file of your own.
    `progress(done, total)` counts rows of the store.

    The same snapshot gives the same bytes. If nothing changed and no number is demanded, nothing is written. An
    export that was interrupted goes on where it stopped when it is started again; until it is finished, nobody sees
    it.

    Raises `NothingToExport`, `NumberTaken`, `BumpTooSmall`, `OptionInvalid`, `RowInvalid`, `Unlicensed`, `ModelSaw`,
    `ReceiptInvalid`, `FolderTaken`, `ExportRunning`, `FolderUnwritable`, `BlobMissing`, `ImageDamaged`, `NotFound`.
    """
    found = data_set(name)
    number = None if version is None else Number.parse(version)
    if bump not in ("auto", *_PARTS):
        raise Unprocessable(f"A version grows by auto, major, minor or patch, not by {bump!r}.")
    root = context.settings.exports_dir.expanduser()
    with writable(root), store_at_hand(context):
        root.mkdir(parents=True, exist_ok=True)
        with lock(root / f".{name}.lock"):
            clean_up(root, name)
            parent = _parent(context, name, number)
            plan = Plan(context, found, _options(parent, options), parent, recipe, root)
            finish_interrupted(plan)
            plan.options.check()
            with context.db.write() as session:
                splits.assign(session, splits.shares_of(context.settings))
            return _create(plan, number, bump, progress or (lambda done, total: None))


@contextmanager
def store_at_hand(context: Context) -> Iterator[None]:
    """Turn what the database says of a full or broken disk into `FolderUnwritable`."""
    try:
        yield
    except OperationalError as error:
        raise FolderUnwritable(
            f"The database in {context.settings.store_dir} cannot be used: {error.orig}. Check free space and "
            "permissions, then start again: what is finished is kept."
        ) from error


def _create(plan: Plan, number: Number | None, bump: str, progress: Progress) -> Created:
    with plan.context.db.read() as session:
        snapshot = _snapshot(session, plan)
        if plan.parent is not None and number is None and bump == "auto" and _unchanged(plan, plan.parent, snapshot):
            return Created(plan.parent, new=False, changes=None)
        tentative = number or next_number(plan.parent, "minor" if bump == "auto" else bump)
        built, left_out = _built(session, plan, tentative, progress)
        if not built.statistics.rows.total():
            raise NothingToExport(_why_nothing(session, plan, left_out))
        changes = _changes(plan, built)
        final = numbered(plan.parent, plan.options, number, bump, changes)
        if final is None:
            shutil.rmtree(plan.work, ignore_errors=True)
            return Created(cast("Folder", plan.parent), new=False, changes=changes)
        if final != tentative and plan.options.images == "repo":
            built, left_out = _built(session, plan, final, progress)
        facts = {
            "snapshot": snapshot,
            "split": {"salt": splits.SALT, "shares": splits.shares_of(plan.context.settings)},
            "recipe_sha256": recipe_sha256(plan.data_set.name, plan.recipe),
        }
        return finish(plan, built, final, changes, facts, left_out)


def finish(
    plan: Plan,
    built: Built,
    number: Number,
    changes: Changes | None,
    facts: Mapping[str, Any],
    left_out: Mapping[str, int],
) -> Created:
    """Put a version that was built in its place, and record it.

    A crash before the last line leaves nothing that anybody sees; started again, the export goes on.
    """
    target = folder_of(plan.context.settings, plan.data_set.name, number)
    facts = {
        "snapshot": facts["snapshot"],
        "split": facts["split"],
        "pixmo": pixmo.__version__,
        "recipe_sha256": facts["recipe_sha256"],
        "writer": WRITER,
        "left_out": {reason: rows for reason, rows in sorted(left_out.items()) if rows},
    }
    with new_folder(target) as folder:
        manifest = compose(
            folder, plan.data_set, plan.options, built, number=number, parent=plan.parent, changes=changes,
            load=image_loader(plan.context.storage), facts=facts, key=receipt.server_key(plan.context.settings),
        )  # fmt: skip
        (plan.work / _PLACING).write_bytes(manifest)
        sync(plan.work)
    _record(plan, number, manifest, built.image_files)
    shutil.rmtree(plan.work, ignore_errors=True)
    return Created(Folder.open(target), new=True, changes=changes)


def finish_interrupted(plan: Plan) -> None:
    """After a crash: a version in its place that was not recorded is made again, for nobody was told of it; of one
    that was, the segments are not needed any more.
    """
    with suppress(OSError, ValueError, LookupError):
        placed = (plan.work / _PLACING).read_bytes()
        folder = plan.root / f"{plan.data_set.name}@{json.loads(placed)['version']}"
        with plan.context.db.read() as session:
            known = {row.manifest_sha256 for row in recorded(session, plan.data_set.name)}
        if hashlib.sha256(placed).hexdigest() in known:
            shutil.rmtree(plan.work)
        elif (folder / MANIFEST).read_bytes() == placed:
            hidden = folder.with_name(f".{folder.name}.new-{secrets.token_hex(4)}")
            folder.rename(hidden)  # so that nobody, not even after another crash, sees a part of it
            shutil.rmtree(hidden)


def _parent(context: Context, name: str, number: Number | None) -> Folder | None:
    """The newest version. Raises `NumberTaken` if `number` does not come after it."""
    with context.db.read() as session:
        rows = recorded(session, name)
    if not rows:
        return None
    newest = Number.parse(rows[-1].version)
    if number is not None and number <= newest:
        taken = any(row.version == str(number) for row in rows)
        reason = "exists already, and versions never change" if taken else f"would come after {newest}, which is later"
        raise NumberTaken(
            f"{name}@{number} {reason}. The next numbers: {', '.join(str(newest.bumped(p)) for p in _PARTS)}."
        )
    return Folder.of_manifest(folder_of(context.settings, name, newest), rows[-1].manifest.encode())


def _options(parent: Folder | None, given: Mapping[str, Any]) -> Options:
    unknown = given.keys() - {field.name for field in fields(Options)}
    if unknown:
        raise TypeError(f"create() has no option {', '.join(sorted(unknown))}")
    base = Options() if parent is None else Options(**parent.manifest["settings"])
    chosen: dict[str, Any] = {
        name: None if value == "" else value for name, value in given.items() if value is not None
    }
    return replace(base, **chosen)


def _snapshot(session: ReadSession, plan: Plan) -> dict[str, Any]:
    """What names a state of the store: rows are only added, or carry the time of their last change."""
    state: list[Any] = []
    models: tuple[type[Base], ...] = (
        *plan.data_set.tables, Image, Campaign, ImageSplit, Takedown
    )  # fmt: skip
    for model in models:
        columns = [func.count(), *(func.max(column) for column in table(model).primary_key)]
        # Times tell apart what has the same id: a row that was removed, and one that came in its place.
        columns += [func.max(table(model).c[name]) for name in ("updated_at", "at") if name in table(model).c]
        row = session.execute(select(*columns).select_from(model)).one()
        state.append([model.__tablename__, *(str(value) for value in row)])
    digest = hashlib.sha256(json.dumps(state).encode()).hexdigest()
    return {"event": session.scalar(select(func.max(TaskEvent.id))) or 0, "sha256": digest}


def _unchanged(plan: Plan, parent: Folder, snapshot: dict[str, Any]) -> bool:
    """Whether an export could not be anything but its parent."""
    before = parent.manifest
    return bool(
        before["snapshot"] == snapshot
        and before["settings"] == plan.options.report()
        and (before["pixmo"], before["writer"]) == (pixmo.__version__, WRITER)
        and before["recipe_sha256"] == recipe_sha256(plan.data_set.name, plan.recipe)
        and (parent.path / MANIFEST).is_file()
    )


def _built(session: ReadSession, plan: Plan, number: Number, progress: Progress) -> tuple[Built, Counter[str]]:
    with writable(plan.work):
        plan.work.mkdir(exist_ok=True)
    session.info["repo"] = plan.options.repo or ""
    reading = Reading(
        session=session,
        pseudonym_key=pseudonym_key(plan.context.settings),
        address=_address(plan.options, number),
        campaign=_campaign(session, plan.options.campaign),
        enriched=not plan.options.plain or plan.data_set.by_models,
        require_licence=plan.options.require_licence,
        balanced_eval=plan.options.balanced_eval,
        shares=splits.shares_of(plan.context.settings),
    )
    total, done = plan.data_set.count(reading), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, max(total, done))

    pages = plan.data_set.rows(reading)
    recipe = pipeline_of(plan.data_set.name, plan.recipe)
    built = build(
        plan.data_set, plan.options, pages if recipe is None else edited(pages, recipe.rows),
        work=plan.work, parent=plan.parent, load=image_loader(plan.context.storage), advance=advance,
    )  # fmt: skip
    return built, reading.left_out


def image_loader(storage: Storage) -> Callable[[str], bytes]:
    """Gives the bytes of a stored image by its name. That raises `BlobMissing` and `ImageDamaged`."""

    def load(name: str) -> bytes:
        sha256 = name.partition(".")[0]
        data = storage.read("images", sha256)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ImageDamaged(f"The stored bytes of image {sha256} are damaged. Restore them from a backup.")
        return data

    return load


def _address(options: Options, number: Number) -> Callable[[Any], tuple[str, str]]:
    """How an image is published: its address, and the hash of what lies there."""

    def source(row: Any) -> tuple[str, str]:
        return row.source_url or f"urn:sha256:{row.sha256}", row.sha256

    def in_repository(row: Any) -> tuple[str, str]:
        name = f"{row.served_sha256}.{row.served_format}"
        tag = f"v{row.published_in or number}"
        return f"{hub_address()}/datasets/{options.repo}/resolve/{tag}/{image_path(name)}", row.served_sha256

    return in_repository if options.images == "repo" else source


def _campaign(session: ReadSession, name: str | None) -> Campaign | None:
    if name is None:
        return None
    campaign = session.scalar(select(Campaign).where(Campaign.name == name))
    if campaign is None:
        raise NotFound(f"There is no campaign {name!r}. See: pixmo campaign list")
    return campaign


def _changes(plan: Plan, built: Built) -> Changes | None:
    """What is different from the parent; None if there is none, or its folder is gone."""
    if plan.parent is None:
        return None
    try:
        changes = diff.compare(plan.parent, built_folder(plan.data_set, built))
    except NoVersion:
        return None
    if changes.moved:
        raise SplitBroken(
            f"Rows that would change their split: {changes.moved:,}. The table image_splits was changed; restore it."
        )
    return changes


def _record(plan: Plan, number: Number, manifest: bytes, image_files: set[str]) -> None:
    name = plan.data_set.name
    with plan.context.db.write() as session:
        session.add(
            DatasetVersion(
                name=name, version=str(number), manifest=manifest.decode(),
                manifest_sha256=hashlib.sha256(manifest).hexdigest(),
            )
        )  # fmt: skip
        if plan.options.repo is not None:
            _publish(session, plan.options.repo, str(number), image_files)
        audit.record(session, None, "version.created", "dataset", f"{name}@{number}")


def record_push(context: Context, version: Folder, repo: str, revision: str, tag: str) -> None:
    """Remember where a version went. Nothing happens if the store did not make it, or knows already."""
    with context.db.write() as session:
        row = session.scalar(select(DatasetVersion).where(DatasetVersion.manifest_sha256 == version.manifest_sha256))
        if row is None:
            return
        same = select(DatasetPush).where(
            DatasetPush.version_id == row.id, DatasetPush.repo == repo, DatasetPush.revision == revision
        )
        if session.scalar(same) is None:
            session.add(DatasetPush(version_id=row.id, repo=repo, revision=revision, tag=tag))
            audit.record(session, None, "version.pushed", "dataset", version.title, repo=repo, revision=revision)


def _publish(session: WriteSession, repo: str, version: str, image_files: set[str]) -> None:
    """Pin the addresses of images that the repository did not have before."""
    digests = sorted(name.partition(".")[0] for name in image_files)
    for start in range(0, len(digests), _BATCH):
        missing = session.scalars(
            select(Image.id)
            .outerjoin(ImagePublication, (ImagePublication.image_id == Image.id) & (ImagePublication.repo == repo))
            .where(Image.served_sha256.in_(digests[start : start + _BATCH]), ImagePublication.image_id.is_(None))
        ).all()
        if missing:
            new = [{"repo": repo, "image_id": id_, "version": version} for id_ in missing]
            session.execute(insert(ImagePublication), new)


def _why_nothing(session: ReadSession, plan: Plan, left_out: Counter[str]) -> str:
    reasons = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in left_out.items() if number)
    if reasons:
        return f"Every row of {plan.data_set.name} was left out: {reasons}."
    if plan.recipe is not None:
        return f"rows() of {plan.recipe} keeps no row, or the store has none. See: pixmo status"
    if plan.data_set.name == "cap":
        from pixmo.export.sources import cap

        waiting = cap.waiting(Reading(session, b"", lambda row: ("", "")))
        if waiting:
            return f"Finished tasks that wait for a caption: {waiting}. Run a worker (pixmo worker), then export again."
        return "No image has been described yet. Invite people with: pixmo invite"
    return f"The store has no annotations for {plan.data_set.name} yet."


def pseudonym_key(settings: Settings) -> bytes:
    """The key of the annotators' pseudonyms: `pseudonym.key` in the store. A new key gives new pseudonyms."""
    return receipt.secret_file(settings.store_dir / "pseudonym.key", lambda: secrets.token_hex(32).encode())
