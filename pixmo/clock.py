"""The one source of the current time."""

from datetime import UTC, datetime


def now() -> datetime:
    """Current time, timezone-aware, UTC."""
    return datetime.now(UTC)
