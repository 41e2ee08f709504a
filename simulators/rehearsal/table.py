"""Writes docs/test-values.md from the values: `python -m simulators.rehearsal.table docs/test-values.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from simulators.rehearsal.values import FOLDER, TestValues, Value, load_values
from simulators.rehearsal.wording import say_steps
from wire.notices import NOTICES

HEAD_PATH: Final = FOLDER / "test-values-head.md"
"""What the page says before its tables."""


_TABLE_HEAD: Final = (
    "| value | at | what is so, and done | what the till API says | what the cashier reads |",
    "|---|---|---|---|---|",
)


def dump_page(values: TestValues) -> str:
    """Write the page: how to rehearse, tables of the values, and what can't be rehearsed."""
    lines = [HEAD_PATH.read_text(encoding="utf-8").rstrip(), "", f"## The {len(values.values)} values"]
    for value in values.values:
        if value.chapter:
            lines += ["", f"### {value.chapter}", "", *_TABLE_HEAD]
        lines.append(_row_of(value))
    lines += ["", "## Codes without a value, and why", "", "| code | why |", "|---|---|"]
    for reason in values.unrehearsed:
        lines.append(f"| {', '.join(f'`{code}`' for code in reason.codes)} | {reason.why} |")
    return "\n".join([*lines, ""])


def _row_of(value: Value) -> str:
    done = f"{value.say} *{say_steps(value.steps)}*"
    return (
        f"| `{value.name}` | {value.till} | {_cell(done)} | {_said_by(value)} | {_cell(_texts_of(value))} |"
    )


def _said_by(value: Value) -> str:
    said = f"event `{value.event}`" if value.event is not None else f"HTTP {value.status}"
    return f"{said}, `{value.code}`" if value.code else said


def _texts_of(value: Value) -> str:
    notice = NOTICES.get(value.code)
    return "" if notice is None else f"{notice.cashier_en} {notice.cashier_zh}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(dump_page(load_values()[0]), encoding="utf-8")
