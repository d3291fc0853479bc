"""What a pipeline makes of the transcripts of one task."""

from collections.abc import Sequence
from dataclasses import dataclass

from pixmo.captions.faithfulness import Flag
from pixmo.captions.models import CaptionMethod


@dataclass(frozen=True)
class Draft:
    """A caption that is not stored yet.

    `used`: indices of the transcripts whose words are in `text`; the others were read and left out. `prompt` names the
    versioned prompt and `llm_call_ids` the calls, if a language model wrote the text.
    """

    text: str
    method: CaptionMethod
    used: Sequence[int]
    flags: Sequence[Flag]
    prompt: str | None = None
    llm_call_ids: Sequence[str] = ()
