"""The one door to a language model: text goes in, text comes out, and every call is kept.

Speaks the OpenAI-compatible `/chat/completions` protocol, which vLLM, llama.cpp, Ollama and the hosted services share.
"""

import hashlib
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, ClassVar

import httpx
from sqlalchemy import insert

from pixmo.clock import now
from pixmo.database import Database
from pixmo.errors import PixmoError, SetupError
from pixmo.ids import new_id
from pixmo.language.models import LlmCall
from pixmo.language.schemas import Completion, Message, canonical_json
from pixmo.settings import Settings

ATTEMPTS = 3
BACKOFF_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0

_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)


class LanguageUnavailable(SetupError):
    """No usable endpoint is configured."""

    code = "language_unavailable"
    title = "There is no language model"


class LanguageFailed(PixmoError):
    """The endpoint gave no usable answer. `retryable`: a later try may succeed, after `retry_after` seconds if given."""

    status: ClassVar[int] = 502
    code = "language_failed"
    title = "The language model gave no usable answer"

    def __init__(self, detail: str, *, retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retryable = retryable
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Reply:
    """What came of one HTTP request."""

    answer: str | None = None
    error: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    retryable: bool = False
    retry_after: float | None = None


def complete(
    db: Database, settings: Settings, messages: Sequence[Message], *, purpose: str, subject_id: str, prompt: str
) -> Completion:
    """Ask the configured model and return its answer.

    Overload (429), server errors (5xx) and broken connections are tried up to `ATTEMPTS` times, waiting as long as the
    server asks. A timeout, a refusal, garbage and a cut-off answer are not: asking again would cost the same and give
    the same. Every request becomes one `LlmCall` row in a transaction of its own, failed ones too; the key never does.

    Must not be called inside a transaction. Raises `LanguageUnavailable` and `LanguageFailed`.
    """
    endpoint = _endpoint(settings)
    parameters = {"temperature": settings.llm_temperature, "max_tokens": settings.llm_max_tokens}
    body = {"model": settings.llm_model, "messages": [message.model_dump() for message in messages], **parameters}
    attempt = 1
    while True:
        at, started = now(), time.monotonic()
        reply = _request(settings, endpoint, body)
        call_id = _record(
            db,
            purpose=purpose,
            subject_id=subject_id,
            endpoint=str(endpoint.copy_with(username=None, password=None, query=None)),
            model=settings.llm_model,
            parameters=parameters,
            prompt=prompt,
            messages=body["messages"],
            sha256=hashlib.sha256(canonical_json(body)).hexdigest(),
            answer=reply.answer,
            error=reply.error,
            usage=reply.usage,
            latency=time.monotonic() - started,
            at=at,
        )
        if reply.error is None and reply.answer is not None:
            return Completion(_THOUGHTS.sub("", reply.answer).strip(), call_id)
        wait = BACKOFF_SECONDS * 2 ** (attempt - 1) if reply.retry_after is None else reply.retry_after
        if not reply.retryable or attempt == ATTEMPTS or wait > LONGEST_WAIT_SECONDS:
            raise LanguageFailed(f"{reply.error}", retryable=reply.retryable, retry_after=reply.retry_after)
        time.sleep(wait)
        attempt += 1


def _endpoint(settings: Settings) -> httpx.URL:
    if not settings.llm_base_url or not settings.llm_model:
        raise LanguageUnavailable("No language model is configured. Set PIXMO_LLM_BASE_URL and PIXMO_LLM_MODEL.")
    try:
        url = httpx.URL(settings.llm_base_url.rstrip("/") + "/chat/completions")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise LanguageUnavailable("PIXMO_LLM_BASE_URL is no address. It looks like http://127.0.0.1:8080/v1.")
    return url


@cache
def _certificates() -> ssl.SSLContext:
    """Loaded once: it takes longer than a request to a local model."""
    return httpx.create_ssl_context()


def _request(settings: Settings, endpoint: httpx.URL, body: dict[str, Any]) -> _Reply:
    key = settings.llm_api_key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.post(
            endpoint, json=body, headers=headers, timeout=settings.llm_timeout_seconds, verify=_certificates()
        )
    except httpx.ConnectTimeout:
        return _Reply(error="The language model could not be reached in time.", retryable=True)
    except httpx.TimeoutException:
        seconds = settings.llm_timeout_seconds
        return _Reply(error=f"No answer within {seconds:g} s. Raise PIXMO_LLM_TIMEOUT_SECONDS or use a faster model.")
    except httpx.TransportError as error:
        return _Reply(error=f"The language model cannot be reached: {error}", retryable=True)
    except httpx.RequestError as error:
        return _Reply(error=f"The endpoint does not speak HTTP as it should: {error}")
    if response.is_success:
        return _parse(response, settings)
    # Some servers quote the key in their refusal.
    text = response.text[:500].replace(key, "[key]") if key else response.text[:500]
    status = response.status_code
    step = {401: " Check PIXMO_LLM_API_KEY.", 403: " Check PIXMO_LLM_API_KEY.", 404: " Check PIXMO_LLM_BASE_URL."}
    return _Reply(
        error=f"The endpoint answered {status}: {text}{step.get(status, '')}",
        retryable=status == 429 or status >= 500,
        retry_after=_retry_after(response),
    )


def _parse(response: httpx.Response, settings: Settings) -> _Reply:
    try:
        data = response.json()
        choice = data["choices"][0]
        answer, finish = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        return _Reply(error="The endpoint's answer is not a chat completion. Check PIXMO_LLM_BASE_URL.")
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    if not isinstance(answer, str) or not _THOUGHTS.sub("", answer).strip():
        return _Reply(error="The model answered nothing.", usage=usage)
    answer = answer.encode(errors="replace").decode()  # JSON may hold half a surrogate pair, a database may not
    if finish == "length":
        limit = settings.llm_max_tokens
        error = f"The answer was cut off after {limit} tokens. Raise PIXMO_LLM_MAX_TOKENS."
        return _Reply(answer, error, usage)
    if finish not in (None, "stop"):
        return _Reply(answer, f"The model stopped early: {finish}.", usage)
    return _Reply(answer, usage=usage)


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, section 10.2.3): a number or a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        at: datetime = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at - now()).total_seconds()) if at.tzinfo else None


def _record(db: Database, **values: Any) -> str:
    call_id = new_id()
    with db.write() as session:
        session.execute(insert(LlmCall).values(id=call_id, **values))
    return call_id
