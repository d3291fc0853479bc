"""What an export holds, in numbers, gathered row by row."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Counts:
    """Totals over all rows. Rows come ordered by image, so that images are counted without keeping them."""

    rows: int = 0
    images: int = 0
    caption_words: int = 0
    transcripts: int = 0
    transcript_words: int = 0
    recorded_seconds: float = 0.0
    voiced_seconds: float = 0.0
    flagged_captions: int = 0
    unlicensed_images: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    caption_methods: Counter[str] = field(default_factory=Counter)
    transcript_origins: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    takes_by_annotator: Counter[str] = field(default_factory=Counter)
    consents: Counter[str] = field(default_factory=Counter)
    first_day: str | None = None
    last_day: str | None = None
    _image: str | None = None

    def add(self, row: dict[str, Any]) -> None:
        """Count one row of the `enriched` configuration."""
        self.rows += 1
        if row["image_sha256"] != self._image:
            self._image = row["image_sha256"]
            self.images += 1
            self.licences[row["licence"] or "none stated"] += 1
            self.unlicensed_images += not row["licence"]
        self.caption_words += len(row["caption"].split())
        self.transcripts += len(row["transcripts"])
        self.transcript_words += sum(len(text.split()) for text in row["transcripts"])
        self.recorded_seconds += sum(seconds or 0.0 for seconds in row["durations"])
        self.voiced_seconds += sum(seconds or 0.0 for seconds in row["voiced_seconds"])
        self.flagged_captions += bool(row["flags"])
        self.languages[row["language"]] += 1
        self.caption_methods[row["caption_method"]] += 1
        self.transcript_origins.update(row["transcript_origins"])
        self.models.update({step["model"] for step in row["steps"] if step["model"]})
        self.takes_by_annotator.update(row["annotators"])
        self.consents.update(version or "none" for version in row["consent_versions"])
        days = [day.isoformat() for day in row["annotated_on"]]
        self.first_day = min([*days, self.first_day] if self.first_day else days)
        self.last_day = max([*days, self.last_day] if self.last_day else days)

    def report(self) -> dict[str, Any]:
        """The totals as plain values, for the manifest and `--json`."""
        return {
            "rows": self.rows,
            "images": self.images,
            "caption_words": self.caption_words,
            "transcripts": self.transcripts,
            "transcript_words": self.transcript_words,
            "recorded_seconds": round(self.recorded_seconds, 1),
            "voiced_seconds": round(self.voiced_seconds, 1),
            "annotators": len(self.takes_by_annotator),
            "flagged_captions": self.flagged_captions,
            "unlicensed_images": self.unlicensed_images,
            "languages": dict(sorted(self.languages.items())),
            "licences": dict(sorted(self.licences.items())),
            "caption_methods": dict(sorted(self.caption_methods.items())),
            "transcript_origins": dict(sorted(self.transcript_origins.items())),
            "models": dict(sorted(self.models.items())),
            "consents": dict(sorted(self.consents.items())),
            "first_day": self.first_day,
            "last_day": self.last_day,
        }
