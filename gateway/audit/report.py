"""What an audit says, and how it stops at the first break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from gateway.audit.codes import BreakCode

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Told what is being read (`groups`, `payments`, `orders`, `days`), how much of it was, and of how much;
None where that is not known before the end."""


@dataclass(frozen=True, slots=True)
class AuditBreak:
    """The first thing that is not so: a stable code, and where."""

    code: BreakCode
    where: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was walked, and the first break if there is one."""

    group_count: int
    transfer_count: int
    account_count: int
    payment_count: int
    """Payments that were charged or held, whose group was walked."""
    chain_head: bytes
    """Hash of the last group that held; noted elsewhere, it later proves that nothing before it changed."""
    first_break: AuditBreak | None

    @property
    def is_ok(self) -> bool:
        """Say whether everything held."""
        return self.first_break is None


class Broken(Exception):
    """Ends the audit at the first break."""

    def __init__(self, code: BreakCode, where: str) -> None:
        super().__init__(code)
        self.found = AuditBreak(code, where)


def ignore_progress(reading: str, done_count: int, total_count: int | None) -> None:
    """Tell nobody."""
