"""A version on disk, as its manifest describes it."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pixmo.export.verification import VersionDamaged
from pixmo.export.versions import FORMAT, MANIFEST, NoVersion

NUMBER = r"\d+\.\d+\.\d+"

Progress = Callable[[str, int, int], None]
"""Called with the stage (`checking` or `sending`), the bytes done and the bytes in all."""


@dataclass(frozen=True)
class Version:
    """A version on disk: bytes and SHA-256 by path, with those of manifest.json itself."""

    folder: Path
    dataset: str
    number: str
    images: str
    sizes: dict[str, int]
    sha256: dict[str, str]

    @property
    def tag(self) -> str:
        return f"v{self.number}"


def read_version(folder: Path) -> Version:
    """The version in `folder`. Raises `NoVersion`, and `VersionDamaged` if files lack, differ in size or are extra."""
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = json.loads(data)
        if manifest["format"] != FORMAT or not re.fullmatch(NUMBER, manifest["version"]):
            raise ValueError
        files = {str(file["path"]): int(file["bytes"]) for file in manifest["files"]}
        sha256 = {str(file["path"]): str(file["sha256"]) for file in manifest["files"]}
        dataset, number = str(manifest["dataset"]), str(manifest["version"])
        images = str(manifest["settings"]["images"])
    except (OSError, ValueError, LookupError, TypeError):
        raise NoVersion(
            f"{folder} is no version of a pixmo data set. Make one with `pixmo export` and give its folder."
        ) from None
    files[MANIFEST], sha256[MANIFEST] = len(data), hashlib.sha256(data).hexdigest()
    version = Version(folder, dataset, number, images, files, sha256)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    for path in sorted(found.keys() ^ files.keys()):
        problem = "is missing" if path in files else "is not in its manifest"
        raise _damaged(version, path, problem)
    for path, size in files.items():
        if found[path].stat().st_size != size:
            raise _damaged(version, path, "has another size than its manifest says")
    return version


def check_files(version: Version, progress: Progress) -> None:
    """Compare every file with its hash. Raises `VersionDamaged`."""
    total, done = sum(version.sizes.values()), 0
    for path, size in version.sizes.items():
        with (version.folder / path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != version.sha256[path]:
                raise _damaged(version, path, "is not what was exported")
        done += size
        progress("checking", done, total)


def _damaged(version: Version, path: str, problem: str) -> VersionDamaged:
    remedy = (
        f"Nothing was sent. Take an undamaged copy of the folder, or make {version.dataset}@{version.number} again."
    )
    return VersionDamaged(version.folder, [f"{path} {problem}. {remedy}"])
