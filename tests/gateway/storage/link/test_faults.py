"""An error crosses as itself if it is ours, and as nothing but `internal` if it is not."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayError, StoreUnavailable
from gateway.storage.link.faults import FAULT_CHARS_MAX, Fault, error_of, fault_of
from wire.errors import MoneyError, WireError


def _tree(root: type[Exception]) -> list[type[Exception]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


@pytest.mark.parametrize("kind", _tree(GatewayError) + _tree(WireError), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_comes_out_as_the_same_class_with_code_and_words(
    kind: type[GatewayError],
) -> None:
    for error in (kind(), kind("what exactly"), kind("what exactly", code="another_code")):
        crossed = error_of(fault_of(error))
        assert type(crossed) is kind
        assert (crossed.code, str(crossed)) == (error.code, str(error))  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [ValueError("secret"), AssertionError("secret"), KeyError("secret")])
def test_what_is_not_ours_crosses_without_its_words(error: Exception) -> None:
    crossed = error_of(fault_of(error))
    assert isinstance(crossed, GatewayError)
    assert crossed.code == "internal"
    assert "secret" not in str(crossed)


def test_a_class_of_another_version_is_internal_and_long_words_are_cut() -> None:
    unknown = error_of(Fault("NotInvented", "not_invented", "words"))
    assert (type(unknown), unknown.code) == (GatewayError, "internal")  # type: ignore[attr-defined]
    assert len(fault_of(StoreUnavailable("x" * 10_000)).detail) == FAULT_CHARS_MAX
    assert isinstance(error_of(fault_of(MoneyError())), MoneyError)
