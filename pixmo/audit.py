"""The audit trail: one call, in the transaction of the thing that happened."""

from typing import Any

from sqlalchemy import insert

from pixmo.accounts.models import AuditEvent
from pixmo.database import WriteSession


def record(
    session: WriteSession, actor_id: str | None, action: str, subject: str, subject_id: str, **detail: Any
) -> None:
    """Write one event. `actor_id` is None when pixmo itself or the command line acted."""
    session.execute(
        insert(AuditEvent).values(
            actor_id=actor_id, action=action, subject=subject, subject_id=subject_id, detail=detail
        )
    )
