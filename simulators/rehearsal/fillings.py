"""What stands in braces in a test value, filled in when it is rehearsed: ids that only the gateway knows.

{sale} {payment} {attempt} {order}      of the sale that was started last
{shift} {tag_read}                      and whatever else the till API answered last with an id of its own
{id:NAME}                               a fresh id, the same one under the same name within the value
{copy}                                  the thing that was cloned last
{merchant} {till} {terminal:TILL}       ids of the shop and of its tills
{wallet:NAME} {instrument:NAME} {staff:NAME}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from simulators.errors import SimulatorError
from simulators.rehearsal.stage import Registered

_PLACE: Final = re.compile(r"\{([a-z_]+)(?::([a-z0-9-]+))?\}")


class Fillings:
    """The words for one value's places."""

    def __init__(self, ids: Registered, till: str, new_id: Callable[[], str]) -> None:
        """Begin with nothing known but who and what is registered."""
        self._ids = ids
        self._till = till
        self._new_id = new_id
        self._fresh: dict[str, str] = {}
        self.known: dict[str, str] = {}
        """By place: `sale`, `payment`, `attempt`, `order`, `copy`, `shift`."""

    def fill(self, text: str) -> str:
        """Return a text with its places filled in.

        Raises:
            SimulatorError: a place has no such name, or nothing is known of it yet.
        """
        return _PLACE.sub(lambda match: self._word(match[1], match[2]), text)

    def fill_in(self, content: Any) -> Any:
        """Return JSON-like content with every text of it filled in."""
        if isinstance(content, str):
            return self.fill(content)
        if isinstance(content, dict):
            return {key: self.fill_in(value) for key, value in content.items()}
        return [self.fill_in(each) for each in content] if isinstance(content, list) else content

    def _word(self, kind: str, name: str | None) -> str:
        if name is None:
            found = {"merchant": self._ids.merchant_id, "till": self._till, **self.known}.get(kind)
        elif kind == "id":
            found = self._fresh.setdefault(name, self._new_id())
        elif kind == "terminal":
            found = self._ids.terminals[name].terminal_id if name in self._ids.terminals else None
        else:
            named = {
                "wallet": self._ids.wallets,
                "instrument": self._ids.instruments,
                "staff": self._ids.staff,
            }
            found = named.get(kind, {}).get(name)
        if found is None:
            raise SimulatorError(f"nothing is known of {{{kind}{':' + name if name else ''}}}")
        return found
