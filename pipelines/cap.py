"""PixMo-Cap: people speak about an image; what they said becomes one dense caption.

Copy this file and its prompts to change how captions are made or what is published, then say
`pixmo export cap --pipeline my_cap.py`.
"""

from collections.abc import Sequence

import pyarrow as pa

from pixmo.captions.faithfulness import check
from pixmo.captions.models import CaptionMethod
from pixmo.captions.schemas import Draft
from pixmo.captions.tidy import richest, tidy
from pixmo.language.schemas import Message, TextModel
from pixmo.pipeline import prompt

POLISH = "cap-polish-v1"
MERGE = "cap-merge-v1"


def prompt_for(transcripts: Sequence[str]) -> str:
    """One transcript is polished, several are merged."""
    return POLISH if len(transcripts) == 1 else MERGE


def caption(transcripts: Sequence[str], language: str, llm: TextModel | None) -> Draft:
    """The caption of one image from what was said about it.

    With a text-only language model: all transcripts become one text. Without: texts cannot be merged by rule, so the
    transcript that states most is tidied, and the others stay what they are: transcripts.
    """
    if llm is None:
        tidied = [tidy(text, language) for text in transcripts]
        best = richest(tidied, language)
        return Draft(tidied[best], CaptionMethod.tidy, [best], check(tidied[best], transcripts, language))

    name = prompt_for(transcripts)
    spoken = "\n\n".join(f"Description {i}:\n{text}" for i, text in enumerate(transcripts, start=1))
    answer = llm(
        [Message(role="system", content=prompt(name, __file__)), Message(role="user", content=spoken)],
        prompt=name,
    )
    flags = check(answer.text, transcripts, language)
    everything = range(len(transcripts))
    return Draft(answer.text, CaptionMethod.llm, everything, flags, name, [answer.call_id])


def rows(page: pa.Table) -> pa.Table:
    """What is published of a page of described images: here all of it.

    A page has the columns of the published configuration and of `enriched`. Drop rows or change columns as you like
    with `pyarrow.compute`, as `page.filter(pc.greater(page["height"], 400))`; captions are made above, because their
    receipts vouch for them.
    """
    return page
