"""What a problem of the gateway's means: refused, with nothing done, or nobody knows."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from terminal.errors import GatewayRefused, GatewayUnreachable
from terminal.gateway_client.transport import Reply
from wire.errors import WireError
from wire.messages.base import parse_message
from wire.messages.problem import Problem

RETRY_AFTER_S_MAX: Final = 60


class TimedRefusal(GatewayRefused):
    """A refusal with how long the gateway asked to be left alone."""

    def __init__(self, code: str, *, retryable: bool, detail: str, retry_after_s: int) -> None:
        super().__init__(code, retryable=retryable, detail=detail)
        self.retry_after_s = retry_after_s


def read_problem(reply: Reply, *, now_ms: int) -> GatewayRefused | GatewayUnreachable:
    """Return what to raise for a reply that is a problem.

    Args:
        now_ms: unix milliseconds, to say by how much a clock is wrong.
    """
    try:
        problem = parse_message(reply.body, Problem)
    except WireError:
        return GatewayUnreachable("the gateway's problem is not of the agreed form")
    if problem.code == "nonce_replayed":
        # A connection that broke made the HTTP library or a proxy send the same bytes again: the first
        # copy may have been booked. The next send carries a fresh nonce.
        return GatewayUnreachable("the gateway has received this very request before")
    if reply.status >= 500 and not problem.retryable:
        # It broke in the middle of something: that it booked nothing is not certain.
        return GatewayUnreachable(f"the gateway failed ({log_safe(problem.code)})")
    return TimedRefusal(
        problem.code,
        retryable=problem.retryable,
        detail=_explain(problem.code, reply, now_ms),
        retry_after_s=_parse_retry_after(reply.headers.get("retry-after", "")),
    )


def retry_after_ms_of(refusal: GatewayRefused) -> int:
    """Return how long the gateway asked to be left alone, in milliseconds; 0 where it did not."""
    return refusal.retry_after_s * 1000 if isinstance(refusal, TimedRefusal) else 0


def log_safe(code: str) -> str:
    """Return a code for a log line: it comes from outside, so only what looks like ours is repeated."""
    return code if code.isascii() and code.replace("_", "").isalnum() and len(code) <= 64 else "unreadable"


def _explain(code: str, reply: Reply, now_ms: int) -> str:
    if code != "signature_expired":
        return f"the gateway refused: {log_safe(code)}"
    skew_s = _clock_skew_s(reply.headers.get("date"), now_ms)
    size = (
        "differs from the gateway's"
        if skew_s is None
        else f"is {abs(skew_s)} s " + ("ahead" if skew_s > 0 else "behind")
    )
    return f"the clock of this machine is wrong: it {size}; set it, or let it be set by NTP"


def _parse_retry_after(text: str) -> int:
    # Only the seconds form: the date form would trust two clocks at once.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        return 0
    return min(int(text), RETRY_AFTER_S_MAX)


def _clock_skew_s(date: str | None, now_ms: int) -> int | None:
    if date is None:
        return None
    try:
        return now_ms // 1000 - int(parsedate_to_datetime(date).timestamp())
    except ValueError:
        return None
