"""Which submissions of a task count."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select

from pixmo.database import ReadSession, WriteSession, among
from pixmo.tasks.models import Slot, TaskAction, TaskEvent


@dataclass(frozen=True)
class Answer:
    """A submission that stands: the newest of its slot, not taken back."""

    task_id: str
    slot_number: int
    recording_id: str


def standing_answers(session: ReadSession | WriteSession, task_ids: Iterable[str]) -> dict[str, list[Answer]]:
    """The submissions that stand, by task, in the order of their slots."""
    rows = session.execute(
        select(Slot.task_id, Slot.number, TaskEvent.action, TaskEvent.answer)
        .join(TaskEvent, TaskEvent.slot_id == Slot.id)
        .where(
            among(Slot.task_id, task_ids), TaskEvent.action.in_([TaskAction.submitted, TaskAction.undone])
        )
        .order_by(TaskEvent.id)
    )  # fmt: skip
    newest = {(task_id, number): (action, answer) for task_id, number, action, answer in rows}
    answers: dict[str, list[Answer]] = {}
    for (task_id, number), (action, answer) in sorted(newest.items()):
        if action is TaskAction.submitted:
            answers.setdefault(task_id, []).append(Answer(task_id, number, answer["recording_id"]))
    return answers


def standing_recordings(session: ReadSession | WriteSession, task_ids: Iterable[str]) -> set[str]:
    """The recordings of the submissions that stand, of all these tasks together."""
    newest = (
        select(func.max(TaskEvent.id))
        .where(among(TaskEvent.task_id, task_ids), TaskEvent.action.in_([TaskAction.submitted, TaskAction.undone]))
        .group_by(TaskEvent.slot_id)
    )
    recording_id = TaskEvent.answer["recording_id"].as_string()
    statement = select(recording_id).where(TaskEvent.id.in_(newest), TaskEvent.action == TaskAction.submitted)
    return set(session.scalars(statement))
