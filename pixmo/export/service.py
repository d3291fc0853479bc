"""Exporting described images as a Hugging Face data set folder."""

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import func, select

import pixmo
from pixmo import pipeline
from pixmo.campaigns.models import Campaign
from pixmo.captions import receipt
from pixmo.database import Database, ReadSession
from pixmo.errors import NotFound, Unprocessable
from pixmo.export import card, rows
from pixmo.export.counts import Counts
from pixmo.export.folder import CARD, FORMAT, MANIFEST, read_manifest, replaced_folder
from pixmo.export.schemas import DEFAULT, ENRICHED, fingerprint
from pixmo.export.tables import SPLIT, RowInvalid, TableWriter
from pixmo.settings import Settings
from pixmo.storage import Storage
from pixmo.tasks.models import TaskEvent

if TYPE_CHECKING:
    from datasets import DatasetDict

Progress = Callable[[int, int], None]

_CONFIGS = {"default": ("data", DEFAULT, 10_000), "enriched": ("enriched", ENRICHED, 100)}


class NothingToExport(Unprocessable):
    code = "nothing_to_export"
    title = "There is nothing to export"


class Unlicensed(Unprocessable):
    code = "unlicensed"
    title = "An image has no licence"


class ModelSawImage(Unprocessable):
    """The invariant of the whole data set: text about images comes from people."""

    code = "model_saw_image"
    title = "A model saw an image"


@dataclass(frozen=True)
class Summary:
    """What was exported. `left_out`: tasks whose captions were not, by reason. `waiting`: tasks without a caption."""

    folder: Path
    snapshot: int
    counts: Counts
    left_out: dict[str, int]
    waiting: int

    def report(self) -> dict[str, Any]:
        """The summary as plain values, for `--json`."""
        return {
            "folder": str(self.folder),
            "snapshot": self.snapshot,
            **self.counts.report(),
            "left_out": self.left_out,
            "waiting": self.waiting,
        }


def cap(
    db: Database,
    storage: Storage,
    settings: Settings,
    folder: Path,
    *,
    campaign: str | None = None,
    licence: str | None = None,
    require_licence: bool = False,
    recipe: Path | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Write all captions that hold to `folder`, as the configurations `default` and `enriched` of one data set.

    Reads one snapshot of the store, in constant memory. `folder` is replaced as a whole or left as it is. The same
    snapshot gives the same bytes. `licence` is that of captions and transcripts, for the card; `require_licence`
    refuses images without one; `recipe` is a pipeline file of your own; `progress(done, total)` counts tasks.

    Raises `NothingToExport`, `Unlicensed`, `ModelSawImage`, `RowInvalid`, `ReceiptInvalid`, `FolderTaken`,
    `ExportRunning`, `FolderUnwritable`, `BlobMissing`, `ImageDamaged`.
    """
    made_by = pipeline.load("cap", recipe)
    counts, left_out, keys = Counts(), Counter[str](), set[str]()
    done = 0
    with replaced_folder(folder) as new, db.read() as session:
        snapshot = session.scalar(select(func.max(TaskEvent.id))) or 0
        total, waiting = rows.count(session, campaign), rows.count_waiting(session, campaign)
        if not total:
            raise NothingToExport(_why_nothing(session, campaign, waiting))

        def advance(tasks: int) -> None:
            nonlocal done
            done += tasks
            if progress is not None:
                progress(done, total)

        described = rows.read(
            session, storage, _pseudonym_key(settings), campaign, left_out=left_out, advance=advance
        )  # fmt: skip
        writers = {
            name: TableWriter(new / place, features, group_rows=group)
            for name, (place, features, group) in _CONFIGS.items()
        }
        try:
            for row in made_by.rows(described):
                _check(row, counts.rows, require_licence=require_licence)
                for name, (_, features, _) in _CONFIGS.items():
                    writers[name].write({column: row[column] for column in features})
                counts.add(row)
                keys.add(json.loads(row["receipt"])["key"]["id"])
            if not counts.rows:
                raise NothingToExport("Every caption was left out, because answers were withdrawn after it was made.")
            for writer in writers.values():
                writer.close()
        finally:
            for writer in writers.values():
                writer.abort()
        _describe(new, writers, counts, licence=licence, snapshot=snapshot, keys=sorted(keys), manifest={
            "dataset": "cap",
            "snapshot": snapshot,
            "campaign": campaign,
            "left_out": dict(left_out),
            "pixmo": pixmo.__version__,
            "pipeline_sha256": hashlib.sha256(Path(made_by.__file__).read_bytes()).hexdigest(),
            "writer": f"pyarrow {pa.__version__}",
        })  # fmt: skip
    return Summary(folder, snapshot, counts, dict(left_out), waiting)


def load(
    folder: str | Path, config: str = "default", *, streaming: bool = False, cache_dir: str | Path | None = None
) -> "DatasetDict":
    """An exported data set as `datasets.DatasetDict` (`IterableDatasetDict` when `streaming`) with the split `train`.

    `config`: `default`, the columns of allenai/pixmo-cap, or `enriched`, with images and provenance. Raises `NotFound`.
    """
    if not (Path(folder) / MANIFEST).is_file():
        raise NotFound(f"{folder} is no export of pixmo. Make one with: pixmo export cap {folder}")
    from datasets import load_dataset

    read_manifest(Path(folder))
    cache = None if cache_dir is None else str(cache_dir)
    return load_dataset(str(Path(folder).resolve()), config, streaming=streaming, cache_dir=cache)


def _why_nothing(session: ReadSession, campaign: str | None, waiting: int) -> str:
    if campaign is not None and session.scalar(select(Campaign.id).where(Campaign.name == campaign)) is None:
        return f"There is no campaign {campaign!r}. See: pixmo campaign list"
    if waiting:
        return f"Finished tasks that wait for a caption: {waiting}. Run a worker (pixmo worker), then export again."
    return "No image has been described yet. Invite people with: pixmo invite"


def _pseudonym_key(settings: Settings) -> bytes:
    """The key of the annotators' pseudonyms: `pseudonym.key` in the store. A new key gives new pseudonyms."""
    return receipt.secret_file(settings.store_dir / "pseudonym.key", lambda: secrets.token_hex(32).encode())


def _check(row: dict[str, Any], number: int, *, require_licence: bool) -> None:
    """What must be true of every row, whatever pipeline made it."""
    if row.keys() != ENRICHED.keys():
        names = ", ".join(sorted(row.keys() ^ ENRICHED.keys()))
        raise RowInvalid(f"Row {number} lacks or adds columns: {names}. Change the pipeline's rows().")
    texts = [row["image_url"], row["caption"], *row["transcripts"]]
    if len(texts) < 3 or not all(isinstance(text, str) and text.strip() for text in texts):
        raise RowInvalid(f"Row {number} has an empty image_url, caption or transcript.")
    for step in row["steps"]:
        if step["saw_image"] and step["origin"] != "human":
            raise ModelSawImage(
                f"Image {row['image_sha256']}: the step {step['field']} ({step['origin']}, model {step['model']}) "
                "was shown an image. Such rows are never exported; make the caption again from its transcripts."
            )
    if require_licence and not row["licence"]:
        raise Unlicensed(f"Image {row['image_sha256']} has no licence. State it, or export without --require-licence.")
    try:
        receipt.verify(json.loads(row["receipt"]), image_sha256=row["image_sha256"], caption=row["caption"])
    except (ValueError, receipt.ReceiptInvalid) as error:
        raise receipt.ReceiptInvalid(
            f"Image {row['image_sha256']}: {error} Captions are changed in the pipeline's caption(), not in rows()."
        ) from None


def _describe(
    folder: Path,
    writers: dict[str, TableWriter],
    counts: Counts,
    *,
    licence: str | None,
    snapshot: int,
    keys: list[str],
    manifest: dict[str, Any],
) -> None:
    """Write the card and the manifest."""
    configs = {
        name: {
            "folder": writer.folder.name,
            "rows": writer.rows,
            "num_bytes": writer.num_bytes,
            "download_bytes": sum(path.stat().st_size for path in writer.folder.iterdir()),
        }
        for name, writer in writers.items()
    }
    text = card.render(counts, configs, licence=licence, snapshot=snapshot, receipt_keys=keys)
    (folder / CARD).write_text(text, "utf-8")
    manifest = {
        "format": FORMAT,
        **manifest,
        "split": SPLIT,
        "receipt_keys": keys,
        "counts": counts.report(),
        "configs": {
            name: {
                "rows": writer.rows,
                "content_sha256": writer.content_sha256,
                "schema_sha256": fingerprint(_CONFIGS[name][1]),
            }
            for name, writer in writers.items()
        },
        "files": [_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _file(folder: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": digest}
