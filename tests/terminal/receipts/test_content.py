"""The example in the receipts' docstrings runs."""

from __future__ import annotations

import doctest

from terminal.receipts import content


def test_the_example_of_the_qr_text_holds() -> None:
    results = doctest.testmod(content)
    assert results.attempted > 0
    assert results.failed == 0
