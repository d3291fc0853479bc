"""Campaigns as the API shows them."""

from pydantic import BaseModel

from pixmo.campaigns.models import CampaignKind, CampaignStatus


class Question(BaseModel):
    id: str
    text: str


class CampaignSummary(BaseModel):
    """A campaign with the numbers that one person's home page shows."""

    id: str
    name: str
    title: str
    kind: CampaignKind
    language: str
    status: CampaignStatus
    total: int
    done: int
    remaining_for_me: int
    done_by_me: int


class CampaignDetail(CampaignSummary):
    """Everything the task page needs to know about its campaign. Times are seconds."""

    instructions: str
    questions: list[Question]
    overlap: int
    min_voiced_seconds: float
    max_seconds: float
    min_words: int
