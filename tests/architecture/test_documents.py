"""What the documents name must be there: tests by their names, pages and places in them by their links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)|src=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_tests_that_are_named_are_there(document: Path) -> None:
    for path, name in NAMED_TEST.findall(document.read_text(encoding="utf-8")):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor, picture in LINK.findall(document.read_text(encoding="utf-8")):
        path = document.parent / (target or picture) if target or picture else document
        assert path.exists(), f"{_name(document)} links {target or picture}"
        if anchor:
            headings = HEADING.findall(path.read_text(encoding="utf-8"))
            assert anchor in {_anchor_of(heading) for heading in headings}, f"{_name(document)}#{anchor}"


def _anchor_of(heading: str) -> str:
    """Return what a heading is linked by, as code hosts derive it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
