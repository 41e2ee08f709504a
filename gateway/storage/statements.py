"""How a named statement is run, so that what statements mean can be said once for every store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.storage.records import Row

Values = Mapping[str, Any]


class StatementRunner(ABC):
    """Five ways to run a statement by its name."""

    @abstractmethod
    async def _set(self, name: str, /, **values: Any) -> None:
        """Change one row durably; NotFound if there is none."""

    @abstractmethod
    async def _add(self, name: str, values: Values, /) -> bool:
        """Add a row durably; False if the statement left what was there.

        Raises:
            IdempotencyConflict: its id is taken. NotFound: what it belongs to does not exist.
        """

    @abstractmethod
    async def _take(self, name: str, /, **values: Any) -> Row | None:
        """Change one row durably and return it; None if none is as it must be."""

    @abstractmethod
    async def _list(self, name: str, /, **values: Any) -> Sequence[Row]:
        """Read rows."""

    @abstractmethod
    async def _list_habit(self, instrument_id: str, days: Sequence[int], /) -> Sequence[Row]:
        """Read what an instrument spent on these days."""
