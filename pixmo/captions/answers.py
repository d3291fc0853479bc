"""Which submissions of a task count."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select

from pixmo.database import ReadSession, WriteSession
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
            Slot.task_id.in_(list(task_ids)), TaskEvent.action.in_([TaskAction.submitted, TaskAction.undone])
        )
        .order_by(TaskEvent.id)
    )  # fmt: skip
    newest = {(task_id, number): (action, answer) for task_id, number, action, answer in rows}
    answers: dict[str, list[Answer]] = {}
    for (task_id, number), (action, answer) in sorted(newest.items()):
        if action is TaskAction.submitted:
            answers.setdefault(task_id, []).append(Answer(task_id, number, answer["recording_id"]))
    return answers
