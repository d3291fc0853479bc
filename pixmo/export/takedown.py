"""Taking something down: an image or a person's work leaves every later version, and earlier ones can be patched."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, delete, or_, select, update

from pixmo import audit
from pixmo.accounts.models import User
from pixmo.context import Context
from pixmo.database import ReadSession, WriteSession
from pixmo.errors import Conflict, NotFound
from pixmo.export import service
from pixmo.export.build import Options, build
from pixmo.export.compose import built_folder
from pixmo.export.diff import compare
from pixmo.export.digest import combined
from pixmo.export.folder import clean_up, lock, writable
from pixmo.export.models import Subject, Takedown
from pixmo.export.pages import pseudonym
from pixmo.export.sets import DataSet, data_set
from pixmo.export.versions import INDEX, SPLITS, File, Folder, NoVersion, Number, folder_of, pushes, recorded, resolve
from pixmo.images.formats import BLOBS, ORIGINALS
from pixmo.images.models import Image
from pixmo.recordings.models import Recording, RecordingChunk
from pixmo.tasks.models import Slot, SlotState, Task

AUDIO, PLAYBACK, CHUNKS = "audio", "playback", "chunks"
_PSEUDONYM = re.compile(r"a_[0-9a-f]{10}")


class NothingToTakeDown(Conflict):
    code = "nothing_to_take_down"
    title = "The version holds nothing that was taken down"


class Erased(Conflict):
    code = "erased"
    title = "This was erased"


@dataclass(frozen=True)
class Held:
    """A version that still holds what was taken down. `pushed`: where it went, as `repo at tag`."""

    version: str
    rows: int
    pushed: list[str]


@dataclass
class TakenDown:
    """What a take-down means. `missing`: versions whose folders are gone, of which nothing can be told."""

    subject: str
    subject_id: str
    held_by: list[Held] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        return {
            "subject": self.subject,
            "subject_id": self.subject_id,
            "held_by": [{"version": one.version, "rows": one.rows, "pushed": one.pushed} for one in self.held_by],
            "missing": self.missing,
        }


def take_down(context: Context, subject: Subject | str, name: str, *, reason: str | None = None) -> TakenDown:
    """Keep an image, or everything that a person made, out of every version from now on.

    `name` of an image: its id, address, or the SHA-256 of its file, original or served; of an annotator: their id,
    e-mail address or pseudonym. Nobody is asked about the image any more. Doing it twice changes nothing. The audit
    trail keeps that it happened, not what it was about. Raises `NotFound`.
    """
    subject = Subject(subject)
    with context.db.write() as session:
        subject_id = _find(context, session, subject, name)
        known = session.scalar(_of(subject, subject_id))
        if known is None:
            session.add(Takedown(subject=subject, subject_id=subject_id, reason=reason))
            if subject is Subject.image:
                waiting = Slot.state.in_([SlotState.open, SlotState.leased])
                _set_slots(session, subject_id, waiting, SlotState.closed)
            audit.record(session, None, "taken_down", subject.value, subject_id)
    return holders(context, subject, subject_id)


def put_back(context: Context, subject: Subject | str, name: str) -> str:
    """Undo a take-down; the id of what is back. Raises `NotFound`."""
    subject = Subject(subject)
    with context.db.write() as session:
        subject_id = _find(context, session, subject, name)
        if session.scalar(_of(subject, subject_id)) is None:
            raise NotFound(f"The {subject.value} {name} is not taken down.")
        if subject is Subject.image:
            served = session.scalars(select(Image.served_sha256).where(Image.id == subject_id)).one()
            if not context.storage.exists(BLOBS, served):
                raise Erased(f"The image {name} was erased and cannot come back.")
            _set_slots(session, subject_id, Slot.state == SlotState.closed, SlotState.open)
        session.execute(delete(Takedown).where(Takedown.subject == subject, Takedown.subject_id == subject_id))
        audit.record(session, None, "put_back", subject.value, subject_id)
    return subject_id


def erase(context: Context, subject: Subject | str, subject_id: str) -> int:
    """Delete for good what was taken down: the bytes of an image, or all recordings of a person; how many blobs went.

    `subject_id` as in `TakenDown`. Rows with hashes stay, and so do texts, which no version holds any more. What
    somebody else's rows need too is kept. Interrupted, it is finished by running it again. Raises `NotFound`.
    """
    subject = Subject(subject)
    with context.db.read() as session:
        if session.scalar(_of(subject, subject_id)) is None:
            raise NotFound(f"The {subject.value} {subject_id} is not taken down. Take it down first.")
        blobs = set(
            _image_blobs(session, subject_id) if subject is Subject.image else _voice_blobs(session, subject_id)
        )
    present = [(kind, sha256) for kind, sha256 in sorted(blobs) if context.storage.exists(kind, sha256)]
    if present:  # on record first: after a crash the trail may say too much, never too little
        with context.db.write() as session:
            audit.record(session, None, "erased", subject.value, subject_id, blobs=len(present))
    for kind, sha256 in present:
        context.storage.delete(kind, sha256)
    return len(present)


def _image_blobs(session: ReadSession, image_id: str) -> Iterator[tuple[str, str]]:
    image = session.get_one(Image, image_id)
    yield ORIGINALS, image.sha256
    for column in (Image.served_sha256, Image.web_sha256, Image.thumb_sha256):
        sha256 = getattr(image, column.key)
        others = or_(*(other == sha256 for other in (Image.served_sha256, Image.web_sha256, Image.thumb_sha256)))
        if session.scalar(select(Image.id).where(others, Image.id != image_id).limit(1)) is None:
            yield BLOBS, sha256


def _voice_blobs(session: ReadSession, user_id: str) -> Iterator[tuple[str, str]]:
    """Recordings by their hash, but those that somebody else made byte for byte the same."""
    for kind, column in ((AUDIO, Recording.audio_sha256), (PLAYBACK, Recording.playback_sha256)):
        theirs = select(column).where(Recording.user_id == user_id, column.is_not(None))
        others = select(column).where(Recording.user_id != user_id, column.is_not(None))
        yield from ((kind, sha256) for sha256 in session.scalars(theirs.except_(others)) if sha256)
    chunks = select(RecordingChunk.sha256).join(Recording, Recording.id == RecordingChunk.recording_id)
    theirs, others = chunks.where(Recording.user_id == user_id), chunks.where(Recording.user_id != user_id)
    yield from ((CHUNKS, sha256) for sha256 in session.scalars(theirs.except_(others)))


def _set_slots(session: WriteSession, image_id: str, which: ColumnElement[bool], state: SlotState) -> None:
    """Move the slots of an image that nobody has answered."""
    tasks = select(Task.id).where(Task.image_id == image_id)
    session.execute(
        update(Slot)
        .where(Slot.task_id.in_(tasks), which)
        .values(state=state, user_id=None, expires_at=None)
        .execution_options(synchronize_session=False)
    )


def holders(context: Context, subject: Subject, subject_id: str) -> TakenDown:
    """The versions that hold an image, or rows that a person took part in."""
    found = TakenDown(subject.value, subject_id)
    with context.db.read() as session:
        wanted = _Wanted.of(context, session, [(subject, subject_id)])
        went = {
            row_id: [f"{push.repo} at {push.tag}" for push in of_version]
            for row_id, of_version in pushes(session).items()
        }
        rows = recorded(session)
    for row in rows:
        title = f"{row.name}@{row.version}"
        try:
            version = Folder.open(folder_of(context.settings, row.name, row.version))
            number = sum(wanted.number(version, file) for split in SPLITS for file in version.of(INDEX, split))
        except NoVersion:
            found.missing.append(title)
            continue
        if number:
            found.held_by.append(Held(title, number, went.get(row.id, [])))
    return found


def patch(
    context: Context, target: str, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> service.Created:
    """A version without what was taken down since: the next free patch number, nothing else changed.

    Segments without such rows are linked, not written again. Patching the same twice gives the same version. The old
    version stays: remove its folder, and its tag on the Hub, where that is wanted. Raises `NoVersion`, `NothingToTakeDown`, `ExportRunning`, `FolderUnwritable`.
    """
    version = resolve(target, context)
    root = context.settings.exports_dir.expanduser()
    plan = service.Plan(
        context, data_set(version.name), Options(**version.manifest["settings"]), version, None, root
    )  # fmt: skip
    with writable(root), service.store_at_hand(context), lock(root / f".{version.name}.lock"):
        clean_up(root, version.name)
        service.finish_interrupted(plan)
        with context.db.read() as session:
            taken = [(row.subject, row.subject_id) for row in session.scalars(select(Takedown).order_by(Takedown.id))]
            wanted = _Wanted.of(context, session, taken)
            known = {row.version: row.manifest.encode() for row in recorded(session, version.name)}
        snapshot = _snapshot(version, taken)
        number = version.number.bumped("patch")
        while str(number) in known:
            folder = Folder.of_manifest(folder_of(context.settings, version.name, number), known[str(number)])
            if folder.manifest["snapshot"] == snapshot:
                return service.Created(folder, new=False, changes=None)
            number = number.bumped("patch")
        return _patched(plan, version, wanted, number, snapshot, progress)


def _patched(
    plan: service.Plan,
    version: Folder,
    wanted: "_Wanted",
    number: Number,
    snapshot: dict[str, Any],
    progress: Callable[[int, int], None],
) -> service.Created:
    plan.work.mkdir(exist_ok=True)
    total, done = sum(version.manifest["statistics"]["rows"].values()), 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, total)

    def pages() -> Iterator[pa.Table]:
        for split in SPLITS:
            for page in _pages(plan.data_set, version, split):
                kept = page.filter(pa.array(~wanted.rows(page)))
                left_out[0] += page.num_rows - kept.num_rows
                if kept.num_rows:
                    yield kept
                advance(page.num_rows - kept.num_rows)

    left_out = [0]
    built = build(
        plan.data_set, plan.options, pages(), work=plan.work, parent=version,
        load=service.image_loader(plan.context.storage), advance=advance,
    )  # fmt: skip
    if not left_out[0]:
        shutil.rmtree(plan.work, ignore_errors=True)
        raise NothingToTakeDown(f"{version.title} holds nothing that was taken down.")
    if not built.statistics.rows.total():
        raise NothingToTakeDown(f"Nothing would be left of {version.title}. Remove it instead: {version.path}")
    changes = compare(version, built_folder(plan.data_set, built))
    before = version.manifest
    facts = {"snapshot": snapshot, "split": before["split"], "recipe_sha256": before["recipe_sha256"]}
    left = {**before["left_out"], "taken_down": before["left_out"].get("taken_down", 0) + left_out[0]}
    return service.finish(plan, built, number, changes, facts, left)


def _snapshot(version: Folder, taken: list[tuple[Subject, str]]) -> dict[str, Any]:
    """What names a version without what was taken down."""
    before = version.manifest["snapshot"]
    return {
        "event": before["event"],
        "sha256": combined([before["sha256"], *(f"{subject.value} {subject_id}" for subject, subject_id in taken)]),
    }


def _pages(data_set: DataSet, version: Folder, split: str) -> Iterator[pa.Table]:
    """The rows of a version as pages, images by name."""
    if not version.of(INDEX, split):
        return
    index = pa.concat_tables(version.index(split))
    if not version.plain:
        for file in version.of("enriched", split):
            table = _published(version, file)
            places = pc.index_in(table.column("row_id"), value_set=index.column("row_id").combine_chunks())
            yield _page(data_set, _beside(table, index.take(places)), split)
        return
    parts = []
    for config in data_set.configs:
        rows = index.filter(pc.equal(index.column("config"), config))
        tables = [_published(version, file) for file in version.of(config, split)]
        if tables:
            parts.append(_beside(pa.concat_tables(tables), rows))
    yield _page(data_set, pa.concat_tables(parts).sort_by("row_id"), split)


def _published(version: Folder, file: File) -> pa.Table:
    names = [f"{name}.path" if name == "image" else name for name in version.columns(file)]
    return version.read(file, names)


def _beside(table: pa.Table, index: pa.Table) -> pa.Table:
    """Columns of rows, with what the index knows of the same rows besides."""
    for name in ("row_id", "original_sha256", "annotators", "config"):
        if name not in table.column_names:
            table = table.append_column(name, index.column(name))
    return table


def _page(data_set: DataSet, table: pa.Table, split: str) -> pa.Table:
    if "image" in table.column_names:
        names = pc.struct_field(table.column("image"), "path")
        table = table.set_column(table.column_names.index("image"), "image", names)
    elif data_set.part and "image_file" in table.column_names:
        table = table.append_column("image", table.column("image_file"))
    if data_set.part and data_set.part not in table.column_names:
        table = table.append_column(data_set.part, table.column("config"))
    table = table.append_column("split", pa.repeat(pa.scalar(split), table.num_rows))
    return table.drop_columns(["config"]) if "config" in table.column_names else table


@dataclass(frozen=True)
class _Wanted:
    """Images and people to look for, as versions name them: hashes of original files, and pseudonyms."""

    images: pa.Array
    people: pa.Array

    @classmethod
    def of(cls, context: Context, session: ReadSession, subjects: list[tuple[Subject, str]]) -> "_Wanted":
        ids = [subject_id for subject, subject_id in subjects if subject is Subject.image]
        images = session.scalars(select(Image.sha256).where(Image.id.in_(ids))).all()
        key = service.pseudonym_key(context.settings)
        people = [pseudonym(key, subject_id) for subject, subject_id in subjects if subject is Subject.annotator]
        return cls(pa.array(images, pa.string()), pa.array(people, pa.string()))

    def rows(self, table: pa.Table) -> NDArray[np.bool_]:
        """bool [rows]: which rows of a table with `original_sha256` and `annotators` are concerned."""
        found: NDArray[np.bool_] = np.array(pc.is_in(table.column("original_sha256"), self.images))
        annotators = table.column("annotators").combine_chunks()
        concerned = pc.is_in(annotators.flatten(), self.people).to_numpy(zero_copy_only=False)
        found[pc.list_parent_indices(annotators).to_numpy()[concerned]] = True
        return found

    def number(self, version: Folder, file: File) -> int:
        """How many rows of an index segment are concerned."""
        return int(self.rows(version.read(file, ["original_sha256", "annotators"])).sum())


def _of(subject: Subject, subject_id: str) -> Any:
    return select(Takedown).where(Takedown.subject == subject, Takedown.subject_id == subject_id)


def _find(context: Context, session: WriteSession, subject: Subject, name: str) -> str:
    """The id of an image or a person. Raises `NotFound`."""
    if subject is Subject.image:
        fits = or_(Image.id == name, Image.sha256 == name, Image.served_sha256 == name, Image.source_url == name)
        found = session.scalars(select(Image.id).where(fits)).all()
    elif _PSEUDONYM.fullmatch(name):
        key = service.pseudonym_key(context.settings)
        found = [id_ for id_ in session.scalars(select(User.id)) if pseudonym(key, id_) == name]
    else:
        found = session.scalars(select(User.id).where(or_(User.id == name, User.email == name))).all()
    if len(found) > 1:
        raise Conflict(f"{len(found)} images have the address {name}. Name the SHA-256 of one.")
    if not found:
        how = (
            "its id, its address or the SHA-256 of its file"
            if subject is Subject.image
            else "their id, e-mail or pseudonym"
        )
        raise NotFound(f"The store has no {subject.value} {name!r}. Give {how}.")
    return found[0]
