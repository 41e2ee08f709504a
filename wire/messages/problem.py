"""An error of an HTTP interface, as RFC 9457 problem details."""

from __future__ import annotations

import msgspec

from wire.messages.base import Message

PROBLEM_CONTENT_TYPE = "application/problem+json"


class Problem(Message, frozen=True):
    """RFC 9457 members plus ours: a stable code, texts for people, and whether to send it again."""

    type: str
    title: str
    status: int
    code: str
    retryable: bool
    detail: str | None = None
    instance: str | None = None
    cashier_text: dict[str, str] = msgspec.field(default_factory=dict)
    holder_text: dict[str, str] = msgspec.field(default_factory=dict)
