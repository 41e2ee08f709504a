"""What a witness says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not so: a stable code, and where."""

    code: str
    where: str
