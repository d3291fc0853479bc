"""What an annotator's page does, without a browser: for tests that are about the server."""

import hashlib
from pathlib import Path
from typing import Any, Self

import httpx

from pixmo.ids import new_id

CHUNK_BYTES = 8000
SPEECH = Path(__file__).parent / "data" / "speech"


class Page:
    """One signed-in annotator. Every call raises unless the server agrees."""

    def __init__(self, url: str, invite: str, name: str = "annotator") -> None:
        self.client = httpx.Client(base_url=url, timeout=60, headers={"Sec-Fetch-Site": "same-origin"})
        token = invite.partition("#")[2]
        offer = self.post("/api/invites/inspect", {"token": token})
        self.me = self.post(
            "/api/invites/accept",
            {
                "token": token, "display_name": name, "locale": "en",
                "consent_version": offer["consent"]["version"],
            },
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = self.client.post(path, json=body or {})
        assert reply.is_success, reply.text
        return reply.json() if reply.content else None

    def get(self, path: str) -> Any:
        reply = self.client.get(path)
        assert reply.is_success, reply.text
        return reply.json()

    def next(self, campaign: str = "demo", hold: list[str] | None = None) -> dict[str, Any] | None:
        assignment: dict[str, Any] | None = self.post(f"/api/campaigns/{campaign}/next", {"hold": hold or []})
        return assignment

    def start_take(self, assignment: dict[str, Any], mime: str = "audio/webm;codecs=opus") -> str:
        take = new_id()
        body = {"id": take, "fence": assignment["fence"], "mime": mime}
        self.post(f"/api/assignments/{assignment['id']}/recordings", body)
        return take

    def send(self, take: str, data: bytes, first: int = 0, last: int | None = None) -> int:
        """Send the chunks of `data` numbered from `first` up to `last`; returns how many `data` has."""
        chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
        for seq in range(first, len(chunks) if last is None else last):
            reply = self.client.put(
                f"/api/recordings/{take}/chunks/{seq}",
                content=chunks[seq],
                headers={"X-Chunk-SHA256": hashlib.sha256(chunks[seq]).hexdigest()},
            )
            assert reply.is_success, reply.text
            assert reply.json()["next_seq"] == seq + 1
        return len(chunks)

    def finish(self, take: str, data: bytes, chunks: int) -> httpx.Response:
        body = {"chunks": chunks, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "duration_ms": 0}
        return self.client.post(f"/api/recordings/{take}/finish", json=body)

    def record(self, assignment: dict[str, Any], data: bytes) -> str:
        """Speak a whole take."""
        take = self.start_take(assignment)
        reply = self.finish(take, data, self.send(take, data))
        assert reply.is_success, reply.text
        return take

    def submission(self, assignment: dict[str, Any], take: str, text: str | None) -> dict[str, Any]:
        return {
            "fence": assignment["fence"], "submission_id": new_id(), "recording_id": take, "text": text,
            "covered": ["q1"], "elapsed_ms": 1000,
        }  # fmt: skip

    def submit(self, assignment: dict[str, Any], take: str, text: str | None) -> Any:
        return self.post(f"/api/assignments/{assignment['id']}/submit", self.submission(assignment, take, text))
