"""Errors that a person meets: an HTTP problem document (RFC 9457) or one line on the command line.

Every subclass states what went wrong, a stable machine-readable `code`, and, in its message, the next step to take.
"""

from typing import Any, ClassVar


class PixmoError(Exception):
    """Base of all errors that are shown to a person.

    `extra` becomes additional members of the problem document.
    """

    status: ClassVar[int] = 400
    code: str = "bad_request"
    title: ClassVar[str] = "The request cannot be carried out"

    def __init__(self, detail: str, *, code: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra
        if code is not None:
            self.code = code

    def problem(self) -> dict[str, Any]:
        """The members of the problem document."""
        return {
            "type": f"urn:pixmo:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.extra,
        }


class NotSignedIn(PixmoError):
    status = 401
    code = "not_signed_in"
    title = "You are not signed in"


class Forbidden(PixmoError):
    status = 403
    code = "forbidden"
    title = "You may not do this"


class NotFound(PixmoError):
    status = 404
    code = "not_found"
    title = "There is no such thing"


class Conflict(PixmoError):
    status = 409
    code = "conflict"
    title = "This no longer fits what is stored"


class Gone(PixmoError):
    status = 410
    code = "gone"
    title = "This can no longer be used"


class TooLarge(PixmoError):
    status = 413
    code = "too_large"
    title = "Too much was sent"


class Unprocessable(PixmoError):
    status = 422
    code = "unprocessable"
    title = "What was sent cannot be accepted"


class TooManyRequests(PixmoError):
    status = 429
    code = "too_many_attempts"
    title = "Too many attempts"


class SetupError(PixmoError):
    """The installation or its configuration lacks something; the message says what to run."""

    status = 500
    code = "setup"
    title = "pixmo is not set up for this"
