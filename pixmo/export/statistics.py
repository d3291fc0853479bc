"""What a version holds, in numbers, gathered page by page."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pixmo.export.sets import DataSet

_TALLIED = ("language", "campaign", "caption_method", "collection_method", "kind", "time_format")
_PEOPLE = ("annotators", "consent_versions", "transcript_origins")


class ModelSawImage(Exception):
    """A step by a model that was shown an image; the argument is the row's id."""


@dataclass
class Statistics:
    """Totals over all rows of a version. `histograms`: title of a measure -> value -> rows."""

    rows: Counter[str] = field(default_factory=Counter)
    images: int = 0
    unlicensed_images: int = 0
    licences: Counter[str] = field(default_factory=Counter)
    tallies: dict[str, Counter[str]] = field(default_factory=dict)
    histograms: dict[str, Counter[int]] = field(default_factory=dict)
    sums: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    flagged: int = 0
    days: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def add(self, page: pa.Table, data_set: DataSet) -> None:
        """Count one page. Columns that a plain export does not have are not counted."""
        names = set(page.column_names)
        self.rows.update(_tally(page.column("split")))
        if "original_sha256" in names:
            self._add_images(page, "licence" in names)
        for name in names & {*_TALLIED, *_PEOPLE}:
            column = page.column(name)
            values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
            self.tallies.setdefault(name, Counter()).update(_tally(values))
        for name in names & {"durations", "voiced_seconds"}:
            self.sums[name] += round(1000 * (pc.sum(pc.list_flatten(page.column(name))).as_py() or 0))
        if "flags" in names:
            self.flagged += pc.sum(pc.greater(pc.list_value_length(page.column("flags")), 0)).as_py() or 0
        if "annotated_on" in names:
            self._add_days(page.column("annotated_on"))
        if "steps" in names:
            self._add_steps(page)
        for measure in data_set.measures:
            values = measure.of(page).drop_null().to_numpy()
            found, counts = np.unique(values, return_counts=True)
            histogram = self.histograms.setdefault(measure.title, Counter())
            histogram.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def _add_images(self, page: pa.Table, with_licence: bool) -> None:
        """Every image once, however many rows show it."""
        hashes = page.column("original_sha256").combine_chunks().dictionary_encode()
        places = np.flatnonzero(hashes.is_valid())
        firsts = places[np.unique(hashes.indices.drop_null().to_numpy(zero_copy_only=False), return_index=True)[1]]
        for place, sha256 in zip(firsts.tolist(), hashes.dictionary.to_pylist(), strict=True):
            key = int(sha256[:16], 16)
            if key in self._seen:
                continue
            self._seen.add(key)
            self.images += 1
            if with_licence:
                licence = page.column("licence")[place].as_py()
                self.licences[licence or "none stated"] += 1
                self.unlicensed_images += not licence

    def _add_days(self, column: pa.ChunkedArray) -> None:
        days = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        found = pc.min_max(days).as_py()
        known = [*self.days, *(day.isoformat() for day in found.values() if day is not None)]
        self.days = [min(known), max(known)] if known else []

    def _add_steps(self, page: pa.Table) -> None:
        """Models and origins; every row's steps are looked at once for each kind that there is."""
        steps = page.column("steps").combine_chunks()
        flat = steps.flatten()
        origin, model = pc.struct_field(flat, "origin"), pc.struct_field(flat, "model")
        saw = pc.and_(pc.struct_field(flat, "saw_image"), pc.invert(pc.is_in(origin, pa.array(_MAY_SEE))))
        if (place := pc.index(saw, True).as_py()) >= 0:
            row = pc.list_parent_indices(steps)[place].as_py()
            raise ModelSawImage(page.column("row_id")[row].as_py(), flat[place].as_py())
        self.origins.update(_tally(origin))
        self.models.update(_tally(model.drop_null()))

    def report(self) -> dict[str, Any]:
        """The totals as plain values, for the manifest and `--json`."""
        tallies = {name: dict(sorted(counter.items())) for name, counter in sorted(self.tallies.items())}
        annotators = tallies.pop("annotators", {})
        return {
            "rows": {split: self.rows[split] for split in ("train", "validation", "test") if self.rows[split]},
            "images": self.images,
            "unlicensed_images": self.unlicensed_images,
            "annotators": len(annotators),
            "annotations_of_annotators": sorted(annotators.values(), reverse=True),
            "first_day": self.days[0] if self.days else None,
            "last_day": self.days[1] if self.days else None,
            "recorded_seconds": round(self.sums["durations"] / 1000, 1),
            "voiced_seconds": round(self.sums["voiced_seconds"] / 1000, 1),
            "flagged_captions": self.flagged,
            "licences": dict(sorted(self.licences.items())),
            "models": dict(sorted(self.models.items())),
            "origins": dict(sorted(self.origins.items())),
            **tallies,
            "measures": {title: summed(histogram) for title, histogram in sorted(self.histograms.items())},
            "histograms": {
                title: {str(value): number for value, number in sorted(histogram.items())}
                for title, histogram in sorted(self.histograms.items())
            },
        }


_MAY_SEE = ("human", "detector")
"""Origins that may see an image: people, and detectors, which are no vision-language models."""


def summed(histogram: Mapping[int, int]) -> dict[str, float]:
    """Number, mean, median, least and greatest of the values of a histogram."""
    if not histogram:
        return {"n": 0}
    values = np.array(sorted(histogram), np.int64)
    counts = np.array([histogram[value] for value in sorted(histogram)], np.int64)
    n = int(counts.sum())
    return {
        "n": n,
        "mean": round(float((values * counts).sum() / n), 2),
        "median": int(values[np.searchsorted(np.cumsum(counts), (n + 1) // 2)]),
        "least": int(values[0]),
        "most": int(values[-1]),
    }


def _tally(values: Any) -> dict[str, int]:
    """Values and how often they occur; null as `none`."""
    return {entry["values"] if entry["values"] is not None else "none": entry["counts"]
            for entry in pc.value_counts(values).to_pylist()}  # fmt: skip
