"""Fill one store with a few rows of all nine data sets, in all their splits."""

from itertools import count

import numpy as np
from sqlalchemy import select

from pixmo.context import Context
from pixmo.export.splits import pin, shares_of, split_of
from pixmo.images.models import Image
from pixmo.points.models import CollectionMethod, CountCheck, PointSet, Verdict
from pixmo.questions.models import Answer, CaptionDialogue, Explanation
from pixmo.synthetic.models import ClockFace, Document, DocumentKind
from tests.export.filling import fill
from tests.export.sources.filling import Pointing, xy

EVALUATED = 12
"""Rows of points-eval, whose segments hold at most 8."""

_LANDING = ("train", "train", "validation", "validation", "test", "test")


def fill_everything(context: Context) -> Pointing:
    """Six captioned images, two a split, and on each of them a row of every set that has images."""
    fill(context, images=len(_LANDING))
    store = Pointing(context)
    store.filler._number = 10_000
    with context.db.write() as session:
        images = list(session.scalars(select(Image.id).order_by(Image.id)))
        for split in ("train", "validation", "test"):
            pin(session, [one for one, of in zip(images, _LANDING, strict=True) if of == split], split)
    person, campaign = store.person(), store.filler.campaign("asking")
    calls = [store.call()]
    for number, image in enumerate(images):
        by_person = {**person, "campaign_id": campaign} if number % 2 else {}
        of_image = {"image_id": image, **by_person}
        _point(store, of_image, number)
        store.add(Answer, question=f"How many? {number}\n", answer='"Zwölf", 水', llm_call_ids=calls, **of_image)
        turns = [f"{who} {turn}" for turn in range(number + 1) for who in ("What?", "This.")]
        store.add(CaptionDialogue, messages=turns, llm_call_ids=calls, **of_image)
        for kind in DocumentKind:
            asked = [{"question": f"What is bar {bar}?", "answer": str(bar)} for bar in range(number + 1)]
            store.add(Document, kind=kind, questions=asked, code="plot()", image_id=image, llm_call_ids=calls)
    _evaluate(store, images[-1])
    _clocks(store)
    return store


def _point(store: Pointing, of_image: dict[str, str], number: int) -> None:
    points = xy(*((place / 8, 1 / (place + 1)) for place in range(number)))
    method = list(CollectionMethod)[number % 2]
    store.add(PointSet, label=f"cups {number}", method=method, points=points, agreement=number / 7, **of_image)
    store.add(
        CountCheck, label="cups", count=number, points=points, verdict=Verdict.corrected, detector="boxes-1", **of_image
    )
    group = {"points": [[one["x"], one["y"]] for one in points], "inline": "cups", "alt": "blue <cups>"}
    parts = [{"text": "There are "}, *([group, group] if points else [{"text": "none"}])]
    store.add(Explanation, question="Where?", parts=parts, **of_image)


def _evaluate(store: Pointing, image: str) -> None:
    """Rows with masks: none, one, or two, all different."""
    for row in range(EVALUATED):
        masks = [np.random.default_rng(10 * row + mask).random((32, 48)) < 0.3 for mask in range(row % 3)]
        points = xy(*((0.5, row / EVALUATED) for _ in masks))
        added = store.add(
            PointSet, image_id=image, label=f"lid {row}", method=CollectionMethod.pointing, points=points
        )  # fmt: skip
        store.masks(added, masks, model="segmenter-1")


def _clocks(store: Pointing) -> None:
    """Two faces for train and two for evaluation, which is `validation` as published."""
    shares = shares_of(store.context.settings)
    for held_out in (False, True):
        names = (name for name in (f"face{number:06}" for number in count()) if held_out == _is_held_out(name, shares))
        for second in range(2):
            store.add(
                ClockFace, example_id=f"{held_out}-{second}", watchface_id=next(names), watchface_name="Plain",
                watch_time=f"003_2020-06-28T19:57:{second:02}", time_format="With AM/PM", shows_seconds=bool(second),
                hour_visible=19, minute_visible=57, second_visible=second - 1, text=f"7:57:{second:02} PM",
            )  # fmt: skip


def _is_held_out(face: str, shares: dict[str, float]) -> bool:
    return split_of(face, shares) != "train"
