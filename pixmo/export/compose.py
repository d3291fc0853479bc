"""Putting a version together: segments in their places, images, plots, card, changelog, Croissant, manifest."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pixmo.captions import receipt
from pixmo.export import card, changelog
from pixmo.export.build import Built, Options
from pixmo.export.croissant import croissant
from pixmo.export.diff import Changes
from pixmo.export.digest import combined
from pixmo.export.folder import place
from pixmo.export.plots import histogram
from pixmo.export.schemas import fingerprint
from pixmo.export.segments import Load
from pixmo.export.sets import DataSet
from pixmo.export.versions import CARD, CHANGELOG, CROISSANT, FORMAT, INDEX, MANIFEST, Folder, Number


def hub_address() -> str:
    """The Hub's address, without a slash at its end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def image_path(name: str) -> str:
    """Where an image lies in a version, by its name."""
    return f"files/{name[:2]}/{name}"


def built_folder(data_set: DataSet, built: Built) -> Folder:
    """Segments that were built, seen as a version that is not in its folder yet."""
    manifest = {"dataset": data_set.name, "version": "0.0.0", **_configs(built, absolute=True)}
    return Folder(Path("/"), manifest, "")


def compose(
    folder: Path,
    data_set: DataSet,
    options: Options,
    built: Built,
    *,
    number: Number,
    parent: Folder | None,
    changes: Changes | None,
    load: Load,
    facts: Mapping[str, Any],
    key: Ed25519PrivateKey,
) -> bytes:
    """Write everything that belongs to a version to `folder`; the bytes of its manifest, which is written last.

    `facts` are what the manifest says besides: snapshot, split, versions of the software, rows that were left out.
    """
    described = _configs(built)
    for (config, split), segments in built.segments.items():
        for i, one in enumerate(segments):
            place(one.path, folder / _path(built, config, split, i))
    sizes = {file["path"]: file["bytes"] for file in parent.manifest["files"]} if parent is not None else {}
    images = [_image_file(folder, name, load, parent, sizes) for name in sorted(built.image_files)]
    units = {measure.title: measure.unit for measure in data_set.measures}
    for i, (title, counts) in enumerate(sorted(built.statistics.histograms.items())):
        _write(folder / plot_path(i), histogram(counts, title=title, unit=units[title]))
    statistics = built.statistics.report()
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "dataset": data_set.name,
        "version": str(number),
        "parent": parent and {"version": str(parent.number), "manifest_sha256": parent.manifest_sha256},
        "snapshot": facts["snapshot"],
        "settings": options.report(),
        **{name: value for name, value in facts.items() if name not in ("snapshot", "left_out")},
        "signer": receipt.key_id(key.public_key()),
        "statistics": statistics,
        "left_out": facts["left_out"],
        "changes": changes and {
            kind: getattr(changes, kind).total() for kind in ("added", "corrected", "removed")
        },
        **described,
    }  # fmt: skip
    manifest["files"] += images
    _write(folder / CHANGELOG, _changelog(number, built, parent, changes, facts["left_out"]).encode())
    features = {config.name: config.features for config in built.configs if _is_public(built, config.name)}
    statement = card.statement(data_set, options, manifest)
    _write(folder / CROISSANT, _json(croissant(manifest, features, statement)))
    _write(folder / CARD, card.render(data_set, options, manifest, features).encode())
    manifest["files"] = sorted(
        [*manifest["files"], *(_other(folder, path) for path in folder.rglob("*") if _is_other(folder, path))],
        key=lambda file: str(file["path"]),
    )
    text = _json(receipt.sign(manifest, key))
    _write(folder / MANIFEST, text)
    return text


def plot_path(number: int) -> str:
    """Where the plot of a measure lies, counted in the order of their titles."""
    return f"plots/{number}.png"


def _configs(built: Built, *, absolute: bool = False) -> dict[str, Any]:
    """`configs` and the segments in `files`, as the manifest has them."""
    configs: dict[str, Any] = {}
    files = []
    for config in built.configs:
        splits = {}
        for (name, split), segments in built.segments.items():
            if name != config.name:
                continue
            splits[split] = {
                "rows": sum(one.rows for one in segments),
                "num_bytes": sum(one.num_bytes for one in segments),
                "content_sha256": combined(one.content_sha256 for one in segments),
            }
            for i, one in enumerate(segments):
                path = str(one.path.absolute()) if absolute else _path(built, name, split, i)
                files.append({
                    "path": path, "bytes": one.bytes, "sha256": one.sha256, "config": name, "split": split,
                    "rows": one.rows, "num_bytes": one.num_bytes, "first_row": one.first_row,
                    "last_row": one.last_row, "content_sha256": one.content_sha256,
                })  # fmt: skip
        if splits:
            configs[config.name] = {
                "folder": config.folder,
                "schema_sha256": fingerprint(config.features),
                "splits": dict(sorted(splits.items(), key=lambda item: _ORDER.index(item[0]))),
            }
    return {"configs": configs, "files": files}


_ORDER = ("train", "validation", "test")


def _is_public(built: Built, config: str) -> bool:
    return config != INDEX and any(name == config for name, _ in built.segments)


def _path(built: Built, config: str, split: str, number: int) -> str:
    folder = next(one.folder for one in built.configs if one.name == config)
    return f"{folder}/{split}-{number:05d}.parquet"


def _image_file(folder: Path, name: str, load: Load, parent: Folder | None, sizes: Mapping[str, int]) -> dict[str, Any]:
    """An image as a file of the version: the parent's, or a copy of the stored one, which is never linked out.

    `sizes`: bytes of the parent's files.
    """
    path = image_path(name)
    target = folder / path
    earlier = None if parent is None else parent.path / path
    if earlier is not None and earlier.is_file() and earlier.stat().st_size == sizes.get(path):
        place(earlier, target)
    else:
        _write(target, load(name))
    return {"path": path, "bytes": target.stat().st_size, "sha256": name.partition(".")[0]}


def _changelog(
    number: Number, built: Built, parent: Folder | None, changes: Changes | None, left_out: Mapping[str, int]
) -> str:
    earlier, notes = None, []
    if parent is None:
        listed = changelog.Changes(added=built.statistics.rows, left_out=left_out)
    elif changes is None:
        notes = ["The files of the version before were not there, so that what changed cannot be told."]
        listed = changelog.Changes(previous=str(parent.number), left_out=left_out)
    else:
        schema = tuple(f"the columns of `{name}` changed" for name in changes.schema + changes.provenance)
        listed = changelog.Changes(
            changes.added, changes.removed, changes.corrected, changes.columns, left_out, schema=schema,
            previous=str(parent.number),
        )  # fmt: skip
    if parent is not None and (parent.path / CHANGELOG).is_file():
        earlier = (parent.path / CHANGELOG).read_text("utf-8")
    section = changelog.section(str(number), parent.manifest_sha256 if parent else None, listed, notes)
    return changelog.changelog(earlier, section)


def _is_other(folder: Path, path: Path) -> bool:
    """Whether a file is neither a segment nor an image."""
    return path.is_file() and path.suffix != ".parquet" and path.relative_to(folder).parts[0] != "files"


def _other(folder: Path, path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "path": path.relative_to(folder).as_posix(), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()
    }  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
