"""A finished version on the Hugging Face Hub: one commit and one tag a version, and a tag never changes.

A push can be killed at any moment and run again: files that reached the Hub are not sent twice, `main` changes in one
commit, and a commit that lacks its tag gets it.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixmo.export.hub_errors import (
    HubRefused,
    ImagesElsewhere,
    RepoHoldsOther,
    RepoNameInvalid,
    RepoPublic,
    TagTaken,
    explained,
)
from pixmo.export.hub_folder import NUMBER, Progress, Version, check_files, read_version
from pixmo.export.versions import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

GIT_ATTRIBUTES = ".gitattributes"
"""Written by the Hub itself; says which files are kept as LFS objects."""
BATCH_BYTES = 256 * 2**20
BATCH_FILES = 200
"""Files are sent in batches; what a batch sent is known to the Hub when a killed push is run again."""

_NAME = r"[A-Za-z0-9_][\w.-]*"


@dataclass(frozen=True)
class File:
    path: str
    bytes: int


@dataclass(frozen=True)
class Changes:
    """What makes the files of a commit those of a version."""

    added: tuple[File, ...]
    replaced: tuple[File, ...]
    deleted: tuple[File, ...]
    kept: tuple[File, ...]

    @property
    def paths(self) -> list[str]:
        """The files that differ."""
        return [file.path for file in (*self.added, *self.replaced, *self.deleted)]

    @property
    def bytes_to_send(self) -> int:
        """Bytes of the added and replaced files: an upper bound, as the Hub takes what it knows only once."""
        return sum(file.bytes for file in (*self.added, *self.replaced))


@dataclass(frozen=True)
class Plan:
    """What a push will do.

    `head` is the commit of `main` that it was made for, `sha` the commit that holds the version already, if there is
    one, and `already_there` says that this commit has its tag, too.
    """

    repo: str
    tag: str
    url: str
    private: bool
    new_repo: bool
    head: str | None
    sha: str | None
    already_there: bool
    changes: Changes


@dataclass(frozen=True)
class Pushed:
    """What a push did. In a dry run `sha` is that of the plan, and `bytes_sent` is 0."""

    plan: Plan
    sha: str | None
    bytes_sent: int


@dataclass(frozen=True)
class _Repo:
    """A repository as it was found; `head` is the commit of `main`, None if there is none."""

    exists: bool
    private: bool
    head: str | None
    tags: dict[str, str]


def plan(
    folder: Path, repo: str, *, private: bool = True, token: str | None = None, endpoint: str | None = None
) -> Plan:
    """What `push` would do, found by reading the repository; nothing is sent and no file is hashed."""
    _check_repo_name(repo)
    version = read_version(folder)
    with explained(repo), _no_bars():
        return _plan(_api(token, endpoint), version, repo, private)


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> Pushed:
    """Bring the version in `folder` to the data-set repository `repo` ("organisation/name") and tag it `vX.Y.Z`.

    `private`: how the repository is made if it does not exist; a public one is only written to with False.
    `token` and `endpoint` come from HF_TOKEN or `hf auth login`, and HF_ENDPOINT, when not given. Every file is
    compared with the manifest before the first one is sent. Raises the errors of `hub_errors`.
    """
    _check_repo_name(repo)
    version = read_version(folder)
    with explained(repo), _no_bars():
        api = _api(token, endpoint)
        planned = _plan(api, version, repo, private)
    check_files(version, progress)
    if dry_run or planned.already_there:
        return Pushed(planned, planned.sha, 0)
    with explained(repo), _no_bars():
        sha = planned.sha or _send(api, version, planned, progress)
        api.create_tag(repo, tag=version.tag, revision=sha, repo_type="dataset")
    return Pushed(planned, sha, 0 if planned.sha else planned.changes.bytes_to_send)


# What is on the Hub


def _check_repo_name(repo: str) -> None:
    if not re.fullmatch(f"{_NAME}/{_NAME}", repo, re.ASCII) or len(repo) > 96:
        raise RepoNameInvalid(
            f"{repo!r} is no name of a repository. Write ORGANISATION/NAME, with letters, digits, '-', '_' and '.'."
        )


def _api(token: str | None, endpoint: str | None) -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token)


def _plan(api: "HfApi", version: Version, repo: str, private: bool) -> Plan:
    api.whoami()
    found = _look(api, repo, private)
    tagged = found.tags.get(version.tag)
    changes = _changes(api, version, repo, tagged or found.head)
    if tagged is None:
        _check_may_go(api, version, repo, found, private, changes)
    elif changes.paths:
        raise TagTaken(
            f"{repo} holds another {version.tag}: {_named(changes.paths)}. A version never changes. "
            f"Export this one under the next number and push that."
        )
    return Plan(
        repo=repo,
        tag=version.tag,
        url=f"{api.endpoint}/datasets/{repo}/tree/{version.tag}",
        private=found.private,
        new_repo=not found.exists,
        head=found.head,
        sha=None if changes.paths else tagged or found.head,
        already_there=tagged is not None,
        changes=changes,
    )


def _check_may_go(api: "HfApi", version: Version, repo: str, found: _Repo, private: bool, changes: Changes) -> None:
    """Whether the repository may be given this version."""
    _check_visibility(repo, found, private)
    if version.images == "repo":
        _check_image_urls(version, f"{api.endpoint}/datasets/{repo}/resolve", repo, found.tags)
    if found.head is not None:
        _check_main(api, version, repo, found.head, changes)


def _check_visibility(repo: str, found: _Repo, private: bool) -> None:
    if private and not found.private:
        raise RepoPublic(
            f"{repo} is public, so everybody would see this version. Push with --public if that is meant, "
            f"or to another repository."
        )


def _look(api: "HfApi", repo: str, private: bool) -> _Repo:
    """The repository, or what it will be (`private`) if it does not exist."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.dataset_info(repo)
    except RepositoryNotFoundError:
        return _Repo(False, private, None, {})
    refs = api.list_repo_refs(repo, repo_type="dataset")
    heads = [branch.target_commit for branch in refs.branches if branch.name == "main"]
    tags = {tag.name: tag.target_commit for tag in refs.tags}
    return _Repo(True, bool(info.private), heads[0] if heads else None, tags)


def _changes(api: "HfApi", version: Version, repo: str, revision: str | None) -> Changes:
    """What makes the files of `revision` those of the version."""
    from huggingface_hub.hf_api import RepoFile

    listed = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type="dataset") if revision else ()
    there = {entry.path: entry for entry in listed if isinstance(entry, RepoFile)}
    added, replaced, kept = [], [], []
    for path, size in sorted(version.sizes.items()):
        remote = there.get(path)
        if remote is None:
            added.append(File(path, size))
        elif remote.size == size and _same(version, path, remote):
            kept.append(File(path, size))
        else:
            replaced.append(File(path, size))
    stale = sorted(there.keys() - version.sizes.keys() - {GIT_ATTRIBUTES})
    deleted = [File(path, there[path].size) for path in stale]
    return Changes(tuple(added), tuple(replaced), tuple(deleted), tuple(kept))


def _same(version: Version, path: str, remote: Any) -> bool:
    """Whether a file of equal size is the same: by SHA-256 if it is an LFS object, else by its git blob id."""
    if remote.lfs is not None:
        return bool(remote.lfs.sha256 == version.sha256[path])
    data = (version.folder / path).read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return bool(remote.blob_id == blob.hexdigest())


def _check_main(api: "HfApi", version: Version, repo: str, head: str, changes: Changes) -> None:
    """Whether `main` may become this version: it is fresh, or an older version of the same data set."""
    kept, replaced, deleted = (
        {file.path for file in files} for files in (changes.kept, changes.replaced, changes.deleted)
    )
    if MANIFEST in kept:
        return
    if MANIFEST not in replaced:
        foreign = sorted((kept | replaced | deleted) - {"README.md"})
        if foreign:
            raise RepoHoldsOther(
                f"{repo} holds {_named(foreign)}, which pixmo did not write and would delete. "
                f"Push to a new repository, or delete this on the Hub first."
            )
        return
    dataset, number = _version_there(api, repo, head)
    if dataset != version.dataset:
        raise RepoHoldsOther(f"{repo} holds {dataset}, not {version.dataset}. Push to another repository.")
    if _ordered(number) >= _ordered(version.number):
        raise RepoHoldsOther(
            f"{repo} is at another {dataset} {number} already. Push a version after {number}, "
            f"or this one to another repository."
        )


def _version_there(api: "HfApi", repo: str, head: str) -> tuple[str, str]:
    """Data set and version that a commit holds."""
    with tempfile.TemporaryDirectory() as folder:
        local = api.hf_hub_download(repo, MANIFEST, repo_type="dataset", revision=head, local_dir=folder)
        try:
            manifest = json.loads(Path(local).read_bytes())
            if re.fullmatch(NUMBER, manifest["version"]):
                return str(manifest["dataset"]), str(manifest["version"])
        except (ValueError, LookupError, TypeError):
            pass
    raise RepoHoldsOther(f"{repo} holds a {MANIFEST} that pixmo did not write. Push to another repository.")


def _ordered(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split("."))


def _check_image_urls(version: Version, base: str, repo: str, tags: dict[str, str]) -> None:
    """Whether all image addresses lead to `base` and to tags that exist, or to this version. Reads one column."""
    pinned: set[str] = set()
    for prefix in _image_url_prefixes(version.folder):
        start, _, tag = prefix.rpartition("/")
        if start != base:
            raise ImagesElsewhere(
                f"The image addresses of this version begin with {prefix}, not with {base}. "
                f"Push to the repository that it was exported for, or export it for {repo}."
            )
        pinned.add(tag)
    missing = sorted(pinned - tags.keys() - {version.tag}, key=lambda tag: (len(tag), tag))
    if missing:
        first = f"{version.dataset} {missing[0].removeprefix('v')}"
        raise ImagesElsewhere(
            f"The images of this version lie in {', '.join(missing)}, which {repo} does not have. Push {first} first."
        )


def _image_url_prefixes(folder: Path) -> set[str]:
    """The distinct beginnings of the column image_url, up to "/files/"."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    prefixes: set[str] = set()
    for path in sorted(folder.glob("data/*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=100_000, columns=["image_url"]):
                cut = pc.replace_substring_regex(batch.column(0), "/files/.*$", "")
                prefixes.update(pc.unique(cut).drop_null().to_pylist())
    return prefixes


# Sending


def _send(api: "HfApi", version: Version, planned: Plan, progress: Progress) -> str:
    """Send the files, commit, and look whether the Hub holds the version now; the commit's id."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    head, changes = planned.head, planned.changes
    if planned.new_repo:
        api.create_repo(planned.repo, repo_type="dataset", private=planned.private)
        made = _look(api, planned.repo, planned.private)
        _check_visibility(planned.repo, made, planned.private)
        head = made.head
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    total, done = changes.bytes_to_send, 0
    for files in _batches((*changes.added, *changes.replaced)):
        batch = [CommitOperationAdd(file.path, version.folder / file.path) for file in files]
        # Without gitignore_content the Hub leaves out what a .gitignore in the repository names.
        api.preupload_lfs_files(
            planned.repo, batch, repo_type="dataset", free_memory=False, gitignore_content="# nothing\n"
        )
        operations.extend(batch)
        done += sum(file.bytes for file in files)
        progress("sending", done, total)
    operations.extend(CommitOperationDelete(file.path, is_folder=False) for file in changes.deleted)
    sha = _commit(api, version, planned.repo, operations, head)
    wrong = _changes(api, version, planned.repo, sha).paths
    if wrong:
        raise HubRefused(
            f"The commit {sha} in {planned.repo} is not this version: {_named(wrong)}. It was not tagged. "
            f"See whether the folder was changed meanwhile, then push again."
        )
    return sha


def _commit(
    api: "HfApi",
    version: Version,
    repo: str,
    operations: "list[CommitOperationAdd | CommitOperationDelete]",
    parent: str | None,
) -> str:
    try:
        return api.create_commit(
            repo,
            operations,
            commit_message=f"{version.dataset} {version.number}",
            commit_description=f"{MANIFEST}: {version.sha256[MANIFEST]}",
            repo_type="dataset",
            parent_commit=parent,
        ).oid
    except ValueError:
        # huggingface_hub 0.36 cannot read the answer, the address of the commit, unless `endpoint` is HF_ENDPOINT.
        sha = api.dataset_info(repo).sha
        if sha is None or sha == parent:
            raise
        return sha


def _batches(files: tuple[File, ...]) -> Iterator[list[File]]:
    """Consecutive files of at most `BATCH_BYTES`, larger files alone."""
    batch: list[File] = []
    for file in files:
        if batch and (len(batch) == BATCH_FILES or sum(one.bytes for one in batch) + file.bytes > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the bars of huggingface_hub off the screen, where pixmo draws its own."""
    from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if HF_HUB_DISABLE_PROGRESS_BARS is not None or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _named(paths: list[str]) -> str:
    """The first paths and the number of the others."""
    shown = ", ".join(paths[:3])
    return shown if len(paths) <= 3 else f"{shown} and {len(paths) - 3} more"
