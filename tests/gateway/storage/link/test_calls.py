"""The table of calls is the contract, and whatever the contract can say crosses unchanged."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gateway.ledger.book import LedgerBook
from gateway.storage.link.calls import CALLS, NOT_CALLED, StoreCall
from gateway.storage.store import Store

BY_NAME = {call.name: call for call in CALLS}
ENCODER = msgspec.msgpack.Encoder()


def contract_methods() -> dict[str, Any]:
    return {
        name: method
        for contract in (Store, LedgerBook)
        for name, method in inspect.getmembers(contract, inspect.isfunction)
        if not name.startswith("_")
    }


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type the contract uses."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(part) for part in parts])
    if origin is typing.Literal:
        return st.sampled_from(parts)
    if origin in (list, Sequence):
        return st.lists(values_of(parts[0]), max_size=3)
    if origin is tuple:
        return st.lists(values_of(parts[0]), min_size=1, max_size=3).map(tuple)
    if dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        return st.builds(lambda fields: _build(kind, fields), st.fixed_dictionaries(_fields_of(kind)))
    return _plain_values_of(kind)


def _plain_values_of(kind: Any) -> st.SearchStrategy[Any]:
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    by_kind: dict[Any, st.SearchStrategy[Any]] = {
        type(None): st.none(),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        str: st.text(max_size=12),
        bytes: st.binary(max_size=20) | st.binary(min_size=16, max_size=16),
    }
    return by_kind[kind]


def _fields_of(kind: Any) -> dict[str, st.SearchStrategy[Any]]:
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {name: values_of(hint) for name, hint in hints.items()}
    for name in fields:
        # What the records assert of themselves: ids of 16 bytes, currencies of three letters.
        if hints[name] is bytes and name.endswith(("account_id", "transfer_id")):
            fields[name] = st.binary(min_size=16, max_size=16)
        if name == "currency":
            fields[name] = st.sampled_from(["EUR", "USD"])
    return fields


def _build(kind: Any, fields: dict[str, Any]) -> Any:
    try:
        return kind(**fields)
    except AssertionError:
        assume(False)


def test_every_method_of_both_contracts_can_be_called_but_close() -> None:
    assert set(BY_NAME) == set(contract_methods()) - NOT_CALLED
    assert [call.number for call in CALLS] == list(range(len(CALLS)))


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_arguments_and_answers_cross_unchanged(call: StoreCall, data: st.DataObject) -> None:
    hints = get_type_hints(contract_methods()[call.name])
    answer = data.draw(values_of(hints.pop("return")))
    arguments = tuple(data.draw(values_of(hint)) for hint in hints.values())
    assert call.arguments.decode(ENCODER.encode(arguments)) == arguments
    assert call.answer.decode(ENCODER.encode(answer)) == answer


def test_named_and_left_out_arguments_are_put_in_their_places() -> None:
    merchants = BY_NAME["list_merchants"]
    assert merchants.arrange((), {}) == ("",)
    assert merchants.arrange((), {"after_id": "A"}) == merchants.arrange(("A",), {}) == ("A",)
    with pytest.raises(TypeError):
        merchants.arrange((), {"after": "A"})
