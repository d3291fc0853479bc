"""PixMo-Cap: what people said about an image, and the dense caption it became."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Select, Text, and_, cast, func, select
from sqlalchemy.orm import aliased

from pixmo.campaigns.models import Campaign, CampaignKind
from pixmo.captions import receipt
from pixmo.captions.answers import standing_recordings
from pixmo.captions.models import Caption
from pixmo.database import among
from pixmo.export.pages import Reading, from_json, kept, words
from pixmo.export.provenance import STEPS_TYPE, is_text, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.schemas import Feature, arrow_schema
from pixmo.export.segments import Cuts, RowInvalid
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.language.models import LlmCall
from pixmo.language.schemas import canonical_json
from pixmo.recordings.models import Recording
from pixmo.tasks.models import Slot, SlotState, Task, TaskAction, TaskEvent
from pixmo.transcripts.models import Transcript, TranscriptOrigin

TASKS = 2_000
"""Tasks read at once."""

_PEOPLE = {name: feature for name, feature in PEOPLE_COLUMNS.items() if name not in ("annotated_on", "steps")}

_EXTRA: dict[str, Feature] = {
    "caption_revision": "int32",
    "caption_method": "string",
    "caption_prompt": "string",
    "caption_model": "string",
    "flags": [{"kind": "string", "token": "string", "sentence": "int32"}],
    "transcript_origins": ["string"],
    "transcript_models": ["string"],
    "transcript_used": ["bool"],
    "word_times": [[{"text": "string", "start": "float64", "end": "float64", "confidence": "float64"}]],
    "audio_sha256": ["string"],
    "durations": ["float64"],
    "voiced_seconds": ["float64"],
    "annotated_on": ["date32"],
    "steps": PEOPLE_COLUMNS["steps"],
    "receipt": "string",
}
ENRICHED = enriched(
    PUBLISHED["cap"]["default"], {"image": "image", "image_sha256": "string"}, IMAGE_COLUMNS, _PEOPLE, _EXTRA
)
_TYPES = arrow_schema(ENRICHED)


@dataclass(frozen=True)
class _Task:
    """A task whose caption holds, with everything that the caption came from. `takes`: (recording, its revisions)."""

    row_id: int
    image_id: str
    campaign_id: str
    caption: Any
    takes: Sequence[tuple[Any, Sequence[Any]]]


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every described task, in the order in which its first answer came."""
    after = 0
    while True:
        tasks = reading.execute(_tasks(reading, after))
        if not tasks:
            return
        after = tasks[-1].row_id
        if whole := list(_whole(reading, tasks)):
            yield _table(reading, whole)


def count(reading: Reading) -> int:
    """How many tasks have a caption."""
    has_caption = select(Caption.id).where(Caption.task_id == Task.id).exists()
    return reading.session.scalar(_described(reading, select(func.count(Task.id))).where(has_caption)) or 0


def waiting(reading: Reading) -> int:
    """How many tasks are submitted in full but have no caption yet."""
    slot = select(Slot.id).where(Slot.task_id == Task.id)
    unfinished = slot.where(Slot.state != SlotState.submitted)
    has_caption = select(Caption.id).where(Caption.task_id == Task.id).exists()
    statement = _described(reading, select(func.count(Task.id)))
    return reading.session.scalar(statement.where(~has_caption, slot.exists(), ~unfinished.exists())) or 0


def _described(reading: Reading, statement: Select[Any]) -> Select[Any]:
    statement = statement.join(Campaign, Campaign.id == Task.campaign_id).where(Campaign.kind == CampaignKind.describe)
    return statement if reading.campaign is None else statement.where(Campaign.id == reading.campaign.id)


def _tasks(reading: Reading, after: int) -> Select[Any]:
    """Tasks with a caption by the event that first answered them, which is what identifies the row."""
    earlier = aliased(TaskEvent)
    is_first = ~(
        select(earlier.id)
        .where(
            earlier.task_id == TaskEvent.task_id, earlier.action == TaskAction.submitted, earlier.id < TaskEvent.id
        )
        .exists()
    )  # fmt: skip
    has_caption = select(Caption.id).where(Caption.task_id == TaskEvent.task_id).exists()
    columns: list[Any] = [TaskEvent.id.label("row_id"), Task.id, Task.image_id, Task.campaign_id]
    return (
        _described(reading, select(*columns).join(Task, Task.id == TaskEvent.task_id))
        .where(TaskEvent.action == TaskAction.submitted, TaskEvent.id > after, is_first, has_caption)
        .order_by(TaskEvent.id)
        .limit(TASKS)
    )


def _whole(reading: Reading, tasks: Sequence[Any]) -> Iterator[_Task]:
    """The tasks whose caption rests on answers that stand, by people whose work may be published."""
    session, ids = reading.session, [task.id for task in tasks]
    captions = _captions(reading, ids)
    standing = standing_recordings(session, ids)
    recordings = _recordings(reading, standing)
    revisions = _revisions(reading, standing)
    by_id = {one.id: one for of_take in revisions.values() for one in of_take}
    for task in tasks:
        caption = captions[task.id]
        used = json.loads(caption.transcript_ids)
        if not all(transcript_id in by_id for transcript_id in used):
            reading.left_out["withdrawn"] += 1
            continue
        takes = []
        for last in (by_id[transcript_id] for transcript_id in used):
            of_take = [one for one in revisions[last.recording_id] if one.revision <= last.revision]
            takes.append((recordings[last.recording_id], of_take))
        if any(recording.user_id in reading.silenced for recording, _ in takes):
            reading.left_out["taken_down"] += 1
            continue
        yield _Task(task.row_id, task.image_id, task.campaign_id, caption, takes)


def _captions(reading: Reading, task_ids: Sequence[str]) -> dict[str, Any]:
    newest = (
        select(Caption.task_id, func.max(Caption.revision).label("revision"))
        .where(among(Caption.task_id, task_ids))
        .group_by(Caption.task_id)
        .subquery()
    )
    columns: list[Any] = [
        Caption.task_id,
        Caption.text,
        cast(Caption.transcript_ids, Text).label("transcript_ids"),
        cast(Caption.llm_call_ids, Text).label("llm_call_ids"),
    ]
    if reading.enriched:
        columns += [
            Caption.revision, cast(Caption.method, Text).label("method"), Caption.prompt,
            cast(Caption.flags, Text).label("flags"), Caption.receipt,
        ]  # fmt: skip
    of_newest = and_(newest.c.task_id == Caption.task_id, newest.c.revision == Caption.revision)
    return {row.task_id: row for row in reading.execute(select(*columns).join(newest, of_newest))}


def _recordings(reading: Reading, ids: set[str]) -> dict[str, Any]:
    columns = (
        Recording.id, Recording.user_id, Recording.consent_id, Recording.audio_sha256, Recording.duration,
        Recording.voiced, func.substr(cast(Recording.started_at, Text), 1, 10).label("day"),
    )  # fmt: skip
    return {row.id: row for row in reading.execute(select(*columns).where(among(Recording.id, ids)))}


def _revisions(reading: Reading, recording_ids: set[str]) -> dict[str, list[Any]]:
    columns: list[Any] = [Transcript.id, Transcript.recording_id, Transcript.revision, Transcript.text]
    if reading.enriched:
        columns += [
            cast(Transcript.origin, Text).label("origin"), Transcript.model, Transcript.model_revision,
            cast(Transcript.words, Text).label("words"),
        ]  # fmt: skip
    found: dict[str, list[Any]] = {}
    for row in reading.execute(select(*columns).where(among(Transcript.recording_id, recording_ids))):
        found.setdefault(row.recording_id, []).append(row)
    for revisions in found.values():
        revisions.sort(key=lambda one: one.revision)
    return found


def _table(reading: Reading, tasks: Sequence[_Task]) -> pa.Table:
    frame = reading.frame([task.image_id for task in tasks])
    columns = {
        **frame.published(),
        "caption": [task.caption.text for task in tasks],
        "transcripts": [[revisions[-1].text for _, revisions in task.takes] for task in tasks],
        "row_id": [task.row_id for task in tasks],
        "annotators": [[reading.pseudonyms[one.user_id] for one, _ in task.takes] for task in tasks],
        "original_sha256": frame.column("sha256"),
    }
    _check(columns, tasks)
    if reading.enriched:
        columns |= {"image": frame.picture(), "image_file": frame.picture(), **frame.provenance()}
        columns |= _provenance(reading, tasks, frame.column("sha256").to_pylist())
    elif any(task.caption.llm_call_ids != "[]" for task in tasks):
        columns["steps"] = [[_call(call) for call in calls] for calls in _calls(reading, tasks)]
    arrays = {
        name: values if isinstance(values, pa.Array) else pa.array(values, _TYPES.field(name).type)
        for name, values in columns.items()
    }
    return kept(arrays, frame.keep)


def _check(columns: Mapping[str, Any], tasks: Sequence[_Task]) -> None:
    for task, caption, transcripts in zip(tasks, columns["caption"], columns["transcripts"], strict=True):
        if not caption.strip() or not transcripts or not all(text.strip() for text in transcripts):
            raise RowInvalid(f"Row {task.row_id} has an empty caption or transcript. Redo its task, then export again.")


def _provenance(reading: Reading, tasks: Sequence[_Task], originals: Sequence[str]) -> dict[str, Any]:
    made_by = _calls(reading, tasks)
    row_ids = [task.row_id for task in tasks]
    recognised = [[_recognised(revisions) for _, revisions in task.takes] for task in tasks]
    for task, original in zip(tasks, originals, strict=True):
        _check_receipt(task, original)
    spoken = ["[" + ",".join(one.words if one else "[]" for one in takes) + "]" for takes in recognised]
    campaigns = [reading.campaigns[task.campaign_id] for task in tasks]
    takes = [[recording for recording, _ in task.takes] for task in tasks]
    days = [[one.day for one in of_task] for of_task in takes]
    return {
        "campaign": [name for name, _ in campaigns],
        "language": [language for _, language in campaigns],
        "consent_versions": [[reading.consents[one.consent_id] for one in of_task] for of_task in takes],
        "annotated_on": pa.array(days, pa.list_(pa.string())).cast(pa.list_(pa.date32())),
        "agreement": [None] * len(tasks),
        "caption_revision": [task.caption.revision for task in tasks],
        "caption_method": [task.caption.method for task in tasks],
        "caption_prompt": [task.caption.prompt for task in tasks],
        "caption_model": [of_caption[-1].model if of_caption else None for of_caption in made_by],
        "flags": from_json([task.caption.flags for task in tasks], _TYPES.field("flags").type, row_ids),
        "transcript_origins": [[revisions[-1].origin for _, revisions in task.takes] for task in tasks],
        "transcript_models": [[one and one.model for one in of_task] for of_task in recognised],
        "transcript_used": [_used(task) for task in tasks],
        "word_times": from_json(spoken, _TYPES.field("word_times").type, row_ids),
        "audio_sha256": [[one.audio_sha256 for one in of_task] for of_task in takes],
        "durations": [[one.duration for one in of_task] for of_task in takes],
        "voiced_seconds": [[one.voiced for one in of_task] for of_task in takes],
        "steps": pa.array(
            [list(_steps(task, of_caption)) for task, of_caption in zip(tasks, made_by, strict=True)], STEPS_TYPE
        ),
        "receipt": [canonical_json(task.caption.receipt).decode() for task in tasks],
    }


def _calls(reading: Reading, tasks: Sequence[_Task]) -> list[list[LlmCall]]:
    """The calls of a language model behind each caption."""
    call_ids = [json.loads(task.caption.llm_call_ids) for task in tasks]
    calls = reading.calls({id_ for ids in call_ids for id_ in ids})
    return [[calls[id_] for id_ in ids] for ids in call_ids]


def _call(call: LlmCall) -> dict[str, Any]:
    return step("caption", "llm_text", call.model, call.prompt, saw_image=not is_text(call))


def _recognised(revisions: Sequence[Any]) -> Any:
    """The newest revision by a recogniser: a person's correction has no word times."""
    return next((one for one in reversed(revisions) if one.origin == TranscriptOrigin.asr), None)


def _used(task: _Task) -> list[bool]:
    """Whether the words of each take went into the caption."""
    used = [take["used"] for take in task.caption.receipt.get("takes", [])]
    return [i < len(used) and used[i] for i in range(len(task.takes))]


def _check_receipt(task: _Task, original: str) -> None:
    """The receipt is about this image and this caption; `verify` checks its signature."""
    signed = task.caption.receipt
    try:
        fits = signed["image"]["sha256"] == original and signed["caption"]["sha256"] == receipt.sha256(
            task.caption.text
        )
    except (LookupError, TypeError):
        fits = False
    if not fits:
        raise receipt.ReceiptInvalid(
            f"Row {task.row_id}: the receipt is about another image or caption. Restore the store from a backup."
        )


def _steps(task: _Task, calls: Sequence[LlmCall]) -> Iterator[dict[str, Any]]:
    for i, (_, revisions) in enumerate(task.takes):
        yield step(f"audio_sha256[{i}]", "human", saw_image=True)
        for one in revisions:
            human = one.origin == TranscriptOrigin.human
            yield step(f"transcripts[{i}]", one.origin, one.model, one.model_revision, saw_image=human)
    yield from map(_call, calls)
    if not calls:
        yield step("caption", "script", saw_image=False)


def _words(column: str) -> Any:
    """How many words each text of a page has."""
    return lambda page: words(page.column(column))


def _spoken(page: pa.Table) -> pa.Array:
    """How many words each transcript of a page has."""
    return words(pc.list_flatten(page["transcripts"]))


SET = DataSet(
    name="cap",
    title="Described images",
    about="dense captions and transcripts, made by people who looked at an image and spoke",
    configs=PUBLISHED["cap"],
    enriched=ENRICHED,
    rows=rows,
    count=count,
    tables=[TaskEvent, Caption, Transcript],
    meaning={
        **MEANING["cap"],
        "image_sha256": "SHA-256 of the bytes at `image_url`",
        "caption_revision": "1 for the first",
        "caption_method": "`tidy` (rules) or `llm` (text-only language model)",
        "caption_prompt": "versioned prompt, if a language model wrote the caption",
        "caption_model": "language model that wrote the caption",
        "flags": "words and numbers of the caption that no transcript holds; `sentence` counts from 0",
        "transcript_origins": "`asr`, or `human` if a person corrected it",
        "transcript_models": "speech recogniser behind the transcript",
        "transcript_used": "whether its words went into the caption",
        "word_times": "words as recognised, with start and end in seconds of the take",
        "audio_sha256": "SHA-256 of the recording, which is not published",
        "durations": "seconds",
        "voiced_seconds": "seconds with voice",
        "annotated_on": "date, UTC",
        "annotators": "keyed pseudonym of the speaker",
        "receipt": "signed chain from image and audio to caption, JSON",
    },
    measures=[
        Measure("Words of a caption", "words", _words("caption")),
        Measure("Words of a transcript", "words", _spoken),
    ],
    image_once=True,
    cuts=Cuts(least=2_048, typical=4_096, most=16_384, group=4_096),
    task_categories=("image-to-text", "visual-question-answering"),
    tags=("image-captioning", "speech"),
    statement=(
        "Annotators saw an image, spoke about it, guided by questions, and could read and correct what was recognised "
        "before they submitted it.",
        "A speech recogniser wrote the transcripts; it hears the recording and is shown no image.",
        "Captions of the method `tidy`: rules took hesitation and repetitions out of the transcript that states most; "
        "rules leave words out and add none. `transcript_used` names that transcript.",
        "Captions of the method `llm`: a text-only language model polished or merged the transcripts. It was given text "
        "alone, and every call is on record.",
        "Each caption was compared with its transcripts: `flags` names words and numbers that no transcript holds.",
        "`receipt` chains image, recording, transcripts, calls of a language model and caption by SHA-256, and is "
        "signed (Ed25519).",
    ),
)
