"""Whoever adds a dependency says under which licence it comes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_locked_package_is_listed_with_its_licence() -> None:
    locked = {
        name.lower()
        for lock in ("requirements.lock", "requirements-pcsc.lock", "requirements-wedge.lock")
        for name in re.findall(
            r"^([A-Za-z0-9_.-]+)==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    rows = re.findall(
        r"^\| ([a-z0-9_.-]+) \| (\S.*?) \|$",
        (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert locked - {name for name, _ in rows} == set()
