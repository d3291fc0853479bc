from collections.abc import Sequence

import pytest

from pipelines import cap
from pixmo.captions.models import CaptionMethod
from pixmo.language.schemas import Completion, Message
from pixmo.pipeline import prompt

SAID = ["um a red kettle", "a red kettle and two blue cups"]


def test_without_a_model_the_richest_transcript_is_tidied() -> None:
    draft = cap.caption(SAID, "en", None)
    assert (draft.text, draft.method, list(draft.used)) == (
        "A red kettle and two blue cups.",
        CaptionMethod.tidy,
        [1],
    )
    assert (draft.prompt, list(draft.flags), list(draft.llm_call_ids)) == (None, [], [])


@pytest.mark.parametrize(("said", "name"), [(SAID[:1], "cap-polish-v1"), (SAID, "cap-merge-v1")])
def test_with_a_model_all_transcripts_are_sent_under_the_versioned_prompt(said: list[str], name: str) -> None:
    asked: list[tuple[Sequence[Message], str]] = []

    def model(messages: Sequence[Message], *, prompt: str) -> Completion:
        asked.append((messages, prompt))
        return Completion("A red kettle and nine cups.", "call-1")

    draft = cap.caption(said, "en", model)
    ((messages, used),) = asked
    assert used == name == draft.prompt == cap.prompt_for(said)
    assert [message.role for message in messages] == ["system", "user"]
    assert messages[0].content == prompt(name, cap.__file__)
    assert all(text in messages[1].content for text in said)
    assert (draft.text, draft.method, list(draft.used)) == (
        "A red kettle and nine cups.",
        CaptionMethod.llm,
        list(range(len(said))),
    )
    assert "nine" in [flag.token for flag in draft.flags]
    assert list(draft.llm_call_ids) == ["call-1"]


@pytest.mark.parametrize("name", [cap.POLISH, cap.MERGE])
def test_prompts_ask_for_nothing_but_what_was_said(name: str) -> None:
    text = prompt(name, cap.__file__)
    assert "Add nothing." in text
    assert "Keep every fact" in text
    assert text.endswith("Answer with the caption alone.")
