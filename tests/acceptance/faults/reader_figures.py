"""What a soak of the readers gave, as a table for a person and a line for a machine."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.acceptance.faults.reader_soak import Seen
from wire.messages.till import SaleState


def percentile(values: Sequence[int], share: float) -> int | None:
    """Return the smallest value that so much of all values do not pass; None of none.

    >>> percentile([10, 20, 30, 40], 0.5)
    20
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def dump_table(seen: Sequence[Seen]) -> str:
    """Write one row a kind of fault and device."""
    rows = [
        "| fault | device | times | called faulty | recovery ms: median | p99 | max "
        "| ready after its end, ms: median | p99 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[Seen]] = {}
    for one in seen:
        groups.setdefault((one.fault.value, one.kind), []).append(one)
    for (fault, kind), ones in sorted(groups.items()):
        recoveries = [one.recovery_ms for one in ones if one.recovery_ms is not None]
        healed = [one.healed_ms for one in ones if one.noticed and one.healed_ms is not None]
        cells = [
            fault,
            kind,
            len(ones),
            sum(one.noticed for one in ones),
            *(_cell(value) for value in _three(recoveries)),
            *(_cell(value) for value in _three(healed)[:2]),
        ]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def dump_figures(seen: Sequence[Seen], violations: Sequence[str]) -> dict[str, Any]:
    """Return the whole run in numbers."""
    recoveries = [one.recovery_ms for one in seen if one.recovery_ms is not None]
    healed = [one.healed_ms for one in seen if one.noticed and one.healed_ms is not None]
    median, p99, most = _three(recoveries)
    healed_median, healed_p99, healed_most = _three(healed)
    states = Counter(one.state for one in seen)
    return {
        "faults": len(seen),
        "kinds_of_fault": len({one.fault for one in seen}),
        "called_faulty": sum(one.noticed for one in seen),
        "recovery_ms": {"median": median, "p99": p99, "max": most},
        "ready_after_its_end_ms": {"median": healed_median, "p99": healed_p99, "max": healed_most},
        "approved": states[SaleState.APPROVED],
        "cancelled": states[SaleState.CANCELLED],
        "other_ends": sum(states.values()) - states[SaleState.APPROVED] - states[SaleState.CANCELLED],
        "violations": len(violations),
    }


def _three(values: Sequence[int]) -> tuple[int | None, int | None, int | None]:
    return percentile(values, 0.5), percentile(values, 0.99), max(values, default=None)


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)
