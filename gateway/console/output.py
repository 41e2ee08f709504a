"""One record or a table, for people or as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import typer

Record = Mapping[str, object]
"""Names in the order shown; values are text, numbers, None, or records within."""


def show_record(record: Record, *, as_json: bool) -> None:
    """Print one record: a line for each of its fields, or JSON."""
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False))
        return
    width = max(len(name) for name in record)
    for name, value in record.items():
        typer.echo(f"{name:<{width}}  {_text(value)}")


def show_table(name: str, records: Sequence[Record], *, as_json: bool) -> None:
    """Print records as a table with a heading, or as JSON under their common name."""
    if as_json:
        typer.echo(json.dumps({name: records}, ensure_ascii=False))
        return
    if not records:
        typer.echo(f"no {name}")
        return
    rows = [list(records[0]), *([_text(value) for value in record.values()] for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _text(value: object) -> str:
    return "-" if value is None else str(value)
