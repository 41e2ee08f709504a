"""Every call of the contract, read from its type hints: nothing to keep in step by hand.

Arguments and answers are structs, frozen dataclasses, enums, numbers, text and bytes; msgspec writes them as
MessagePack and reads them back as the very types the contract names. Both ends are one program, so the
table's order is the numbering.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, get_type_hints

import msgspec

from gateway.ledger.book import LedgerBook
from gateway.storage.people_store import ShiftStore, StaffStore
from gateway.storage.store import (
    CardStore,
    HolderStore,
    IntentStore,
    MerchantStore,
    OfflineStore,
    PaymentStore,
    PolicyStore,
    Store,
)

NOT_CALLED: Final = frozenset({"close"})
"""Each end closes by itself."""
CONTRACTS: Final = (
    PaymentStore,
    MerchantStore,
    HolderStore,
    CardStore,
    PolicyStore,
    StaffStore,
    ShiftStore,
    IntentStore,
    OfflineStore,
    Store,
    LedgerBook,
)


@dataclass(frozen=True, slots=True)
class StoreCall:
    """One method of the contract."""

    number: int
    name: str
    signature: inspect.Signature
    """Without `self`."""
    arguments: msgspec.msgpack.Decoder[tuple[Any, ...]]
    answer: msgspec.msgpack.Decoder[Any]

    @property
    def argument_count(self) -> int:
        """Return how many arguments always travel, defaults included."""
        return len(self.signature.parameters)

    def arrange(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """Return all arguments in the order of the signature, with defaults filled in.

        Raises:
            TypeError: they do not fit the signature.
        """
        bound = self.signature.bind(*args, **named)
        bound.apply_defaults()
        return bound.args


def _read_calls() -> tuple[StoreCall, ...]:
    methods = {
        name: method
        for contract in CONTRACTS
        for name, method in vars(contract).items()
        if inspect.iscoroutinefunction(method) and name not in NOT_CALLED
    }
    return tuple(_read_call(number, name, methods[name]) for number, name in enumerate(methods))


def _read_call(number: int, name: str, method: Callable[..., Any]) -> StoreCall:
    hints = get_type_hints(method)
    answer = hints.pop("return")
    parameters = list(inspect.signature(method).parameters.values())[1:]
    types = tuple(hints[parameter.name] for parameter in parameters)
    # Built while running, so a type checker can't follow: the tuple of exactly these arguments.
    arguments: Any = tuple.__class_getitem__(types if types else ((),))
    return StoreCall(
        number=number,
        name=name,
        signature=inspect.Signature(parameters),
        arguments=msgspec.msgpack.Decoder(arguments),
        answer=msgspec.msgpack.Decoder(answer),
    )


CALLS: Final = _read_calls()
