"""The API as its own document describes it: no request, however odd, makes the server fail."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as hypothesis_settings

from pixmo import openapi
from pixmo.accounts import sessions
from pixmo.accounts.models import Role
from pixmo.app import create_app
from pixmo.context import Context
from pixmo.ids import new_id
from pixmo.recordings import service as recordings
from pixmo.recordings.schemas import StartTake
from pixmo.settings import Settings
from pixmo.tasks import service as tasks
from tests import fill

# One ends the session that the others need; the other hashes a password for half a second.
LEFT_OUT = {"/api/logout", "/api/login"}
TRIES = 25


def fill_store(context: Context, role: Role) -> tuple[str, dict[str, str]]:
    """A person with a lease and an open take; their session token, and values that exist for path parameters."""
    with context.db.write() as session:
        fill.campaign(session, 20)
        person = fill.people(session, 1, role)[0]
        lease = tasks.next_lease(session, "street", person, [], timedelta(hours=1))
        assert lease is not None
        take = StartTake(id=new_id(), fence=lease.fence, mime="audio/webm")
        recordings.start(session, lease.slot_id, person, take)
        token = sessions.start(session, person, 1)
    return token, {"assignment_id": lease.slot_id, "recording_id": take.id, "name": "street"}


@pytest.mark.parametrize("role", [Role.admin, Role.annotator])
def test_no_request_makes_the_server_fail(settings: Settings, context: Context, role: Role) -> None:
    token, known = fill_store(context, role)
    app = create_app(settings)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers={"Host": "localhost"})
    headers = {"Host": "localhost", "Cookie": f"pixmo_session={token}"}
    statuses: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in LEFT_OUT:
            continue

        @seed(20240917)
        @hypothesis_settings(max_examples=TRIES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def request(case: schemathesis.Case) -> None:
            if sum(statuses.values()) % 2:  # every other one reaches something that is there
                case.path_parameters = {
                    name: known.get(name, value) for name, value in (case.path_parameters or {}).items()
                }
            reply = case.call(headers=headers)
            assert reply.status_code < 500, f"{case.method} {case.formatted_path}: {reply.text}"
            if reply.status_code >= 400:
                assert reply.headers["content-type"][0] == "application/problem+json"
                assert reply.json()["code"]
            statuses[reply.status_code] += 1

        request()
    app.state.jobs.close()
    app.state.pixmo.close()
    assert sum(statuses.values()) > 300
    assert statuses[200] > 20, statuses
    assert statuses[422] > 20, statuses


def test_the_page_is_made_from_this_very_api() -> None:
    """If this fails, run: make api"""
    path = Path(__file__).parent.parent / "annotation_ui" / "openapi.json"
    assert json.loads(path.read_text("utf-8")) == openapi.document()
