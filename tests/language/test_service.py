import hashlib
import socket
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from sqlalchemy import select

from pixmo.database import Database
from pixmo.language import service
from pixmo.language.models import LlmCall
from pixmo.language.schemas import Completion, Message, canonical_json
from pixmo.language.service import LanguageFailed, LanguageUnavailable, complete
from pixmo.settings import Settings
from tests.language.endpoint import Endpoint, Reply, answer, serve

KEY = "sk-very-secret-0123456789"
MESSAGES = [Message(role="system", content="Write well."), Message(role="user", content="um a cat")]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BACKOFF_SECONDS", 0.001)


def ask(db: Database, settings: Settings, endpoint: Endpoint | str, **changes: Any) -> Completion:
    url = endpoint if isinstance(endpoint, str) else endpoint.url
    values = {"llm_base_url": url, "llm_model": "small-1", "llm_api_key": KEY, **changes}
    return complete(
        db, settings.model_copy(update=values), MESSAGES, purpose="caption", subject_id="task-1", prompt="cap-polish-v1"
    )


def calls(db: Database) -> list[LlmCall]:
    with db.read() as session:
        return list(session.scalars(select(LlmCall).order_by(LlmCall.id)))


def test_an_answer_is_returned_and_the_exchange_kept(db: Database, settings: Settings) -> None:
    with serve(answer("  A cat.\n")) as endpoint:
        completion = ask(db, settings, endpoint, llm_temperature=0.25, llm_max_tokens=99)
    assert completion.text == "A cat."
    request = endpoint.requests[0]
    assert request == {
        "path": "/v1/chat/completions",
        "model": "small-1",
        "messages": [{"role": "system", "content": "Write well."}, {"role": "user", "content": "um a cat"}],
        "temperature": 0.25,
        "max_tokens": 99,
    }
    assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"
    (call,) = calls(db)
    assert call.id == completion.call_id
    assert (call.purpose, call.subject_id, call.prompt, call.model) == (
        "caption",
        "task-1",
        "cap-polish-v1",
        "small-1",
    )
    assert (call.answer, call.error) == ("  A cat.\n", None)
    assert call.parameters == {"temperature": 0.25, "max_tokens": 99}
    assert call.messages == request["messages"]
    assert call.usage == {"prompt_tokens": 7, "completion_tokens": 5}
    assert call.endpoint == f"{endpoint.url}/chat/completions"
    assert 0 < call.latency < 10
    del request["path"]
    assert call.sha256 == hashlib.sha256(canonical_json(request)).hexdigest()


def test_the_key_is_never_stored(db: Database, settings: Settings) -> None:
    refusal = Reply(401, f"Incorrect API key provided: {KEY}".encode())
    with serve(answer("A cat."), refusal) as endpoint:
        ask(db, settings, endpoint)
        with pytest.raises(LanguageFailed, match="PIXMO_LLM_API_KEY") as failure:
            ask(db, settings, endpoint.url.replace("http://", f"http://user:{KEY}@"))
    assert KEY not in str(failure.value)
    assert not failure.value.retryable
    assert calls(db)[1].endpoint == f"{endpoint.url}/chat/completions"
    with sqlite3.connect(settings.store_dir / "pixmo.db") as connection:
        stored = "\n".join(connection.iterdump())
    connection.close()
    assert "small-1" in stored
    assert KEY not in stored


def test_without_a_key_no_authorization_is_sent(db: Database, settings: Settings) -> None:
    with serve(answer("A cat.")) as endpoint:
        ask(db, settings, endpoint, llm_api_key=None)
    assert "Authorization" not in endpoint.headers[0]


def test_overload_is_waited_out_and_every_call_kept(db: Database, settings: Settings) -> None:
    busy = Reply(429, b"slow down", {"Retry-After": "0"})
    with serve(busy, Reply(503, b"starting"), answer("A cat.")) as endpoint:
        assert ask(db, settings, endpoint).text == "A cat."
    assert [call.error is None for call in calls(db)] == [False, False, True]
    assert [call.answer for call in calls(db)] == [None, None, "A cat."]
    assert len({call.sha256 for call in calls(db)}) == 1


def test_retry_after_is_obeyed(db: Database, settings: Settings) -> None:
    with serve(Reply(429, b"", {"Retry-After": "1"}), answer("A cat.")) as endpoint:
        started = time.monotonic()
        ask(db, settings, endpoint)
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_long_wait_is_left_to_the_caller(db: Database, settings: Settings, form: str) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    value = "3600" if form == "seconds" else in_an_hour
    busy = Reply(429, b"come back later", {"Retry-After": value})
    with serve(busy) as endpoint, pytest.raises(LanguageFailed, match="come back later") as failure:
        ask(db, settings, endpoint)
    assert failure.value.retryable
    assert failure.value.retry_after == pytest.approx(3600, abs=30)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("value", ["soon", "-5", ""])
def test_a_senseless_retry_after_is_ignored(db: Database, settings: Settings, value: str) -> None:
    with serve(Reply(429, b"", {"Retry-After": value}), answer("A cat.")) as endpoint:
        assert ask(db, settings, endpoint).text == "A cat."


def test_server_errors_end_after_some_attempts(db: Database, settings: Settings) -> None:
    with serve(Reply(500, b"broken")) as endpoint, pytest.raises(LanguageFailed, match="500: broken") as failure:
        ask(db, settings, endpoint)
    assert failure.value.retryable
    assert len(endpoint.requests) == len(calls(db)) == service.ATTEMPTS


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(body=b"<html>hello</html>"), "not a chat completion"),
        (Reply(body=b'{"choices": []}'), "not a chat completion"),
        (Reply(body=b"[]"), "not a chat completion"),
        (Reply(body=b'{"choices": [null]}'), "not a chat completion"),
        (answer(None), "answered nothing"),
        (answer("  \n"), "answered nothing"),
        (answer("<think>hmm</think>"), "answered nothing"),
        (answer([{"type": "text", "text": "A cat."}]), "answered nothing"),
        (answer("A cat on a", finish="length"), "PIXMO_LLM_MAX_TOKENS"),
        (answer("A cat.", finish="content_filter"), "content_filter"),
        (Reply(404, b"no such model"), "PIXMO_LLM_BASE_URL"),
        (Reply(400, b"context too long"), "400: context too long"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), "answered 302"),
    ],
)
def test_what_cannot_get_better_is_asked_once(db: Database, settings: Settings, reply: Reply, message: str) -> None:
    with serve(reply) as endpoint, pytest.raises(LanguageFailed, match=message) as failure:
        ask(db, settings, endpoint)
    assert not failure.value.retryable
    assert len(endpoint.requests) == 1
    (call,) = calls(db)
    assert call.error == str(failure.value)


def test_a_cut_off_answer_is_kept(db: Database, settings: Settings) -> None:
    with serve(answer("A cat on a", finish="length")) as endpoint, pytest.raises(LanguageFailed):
        ask(db, settings, endpoint)
    assert calls(db)[0].answer == "A cat on a"


def test_thoughts_of_a_reasoning_model_are_no_part_of_the_answer(db: Database, settings: Settings) -> None:
    with serve(answer("<think>\nA cat?\n</think>\n\nA cat.")) as endpoint:
        assert ask(db, settings, endpoint).text == "A cat."
    assert "A cat?" in (calls(db)[0].answer or "")


def test_half_a_surrogate_pair_is_stored_as_a_question_mark(db: Database, settings: Settings) -> None:
    with serve(answer("A cat \ud83d.")) as endpoint:
        assert ask(db, settings, endpoint).text == "A cat ?."


def test_a_hanging_server_is_left(db: Database, settings: Settings) -> None:
    message = "PIXMO_LLM_TIMEOUT_SECONDS"
    with serve(Reply(delay=0.6)) as endpoint, pytest.raises(LanguageFailed, match=message) as failure:
        ask(db, settings, endpoint, llm_timeout_seconds=0.2)
    assert not failure.value.retryable
    assert len(endpoint.requests) == len(calls(db)) == 1


def test_nobody_listening(db: Database, settings: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(LanguageFailed, match="cannot be reached") as failure:
        ask(db, settings, url)
    assert failure.value.retryable
    assert len(calls(db)) == service.ATTEMPTS


@pytest.mark.parametrize(
    "changes",
    [
        {"llm_base_url": None},
        {"llm_model": None},
        {"llm_base_url": "localhost:8080/v1"},
        {"llm_base_url": "ftp://host/v1"},
        {"llm_base_url": "http://host:port/v1"},
        {"llm_base_url": "http://"},
    ],
)
def test_without_a_usable_endpoint_the_next_step_is_named(
    db: Database, settings: Settings, changes: dict[str, Any]
) -> None:
    with pytest.raises(LanguageUnavailable, match="PIXMO_LLM_BASE_URL"):
        ask(db, settings, "http://127.0.0.1:9/v1", **changes)
    assert calls(db) == []
