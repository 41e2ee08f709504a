"""What a device did, to be read by its shop and sent in; holds no number of a card and no text of a code."""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

from terminal.conformance.model import Result, Verdict
from wire.notices import CHINESE, ENGLISH

LIBRARIES: Final = (
    "nfcpy",
    "pyscard",
    "pyserial",
    "evdev",
    "opencv-python-headless",
    "zxing-cpp",
    "pyzbar",
)
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY: Final = re.compile(r"(camera:https?://[^?\s]*)\?\S*")
_VERDICTS: Final = {
    Verdict.PASSED: ("passed", "通过"),
    Verdict.FAILED: ("FAILED", "未通过"),
    Verdict.SKIPPED: ("skipped", "已跳过"),
}
_SUMMARY: Final = (
    "{passed} passed, {failed} failed, {skipped} skipped.",
    "通过 {passed} 项，未通过 {failed} 项，跳过 {skipped} 项。",
)
_LANGUAGES: Final = (ENGLISH, CHINESE)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    path: str
    """The device's path, without a camera's password."""
    system: str
    versions: dict[str, str]
    """Of Python, this program and the drivers' libraries."""
    results: tuple[Result, ...]

    @property
    def is_conforming(self) -> bool:
        """Whether nothing failed."""
        return all(result.verdict is not Verdict.FAILED for result in self.results)


def make_report(path: str, results: Sequence[Result]) -> Report:
    """Put a report together, with what a maintainer asks first: system and versions."""
    versions = {"python": platform.python_version(), "tapscan": _version("tapscan")}
    versions |= {name: _version(name) for name in LIBRARIES}
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Report(_without_secrets(path), system, versions, tuple(results))


def dump_json(report: Report) -> str:
    """Write a report for a machine."""
    content: dict[str, Any] = asdict(report)
    return json.dumps({**content, "is_conforming": report.is_conforming}, ensure_ascii=False, indent=2)


def dump_result(result: Result, language: str) -> str:
    """Write one check's outcome in one line."""
    verdict = _VERDICTS[result.verdict][_LANGUAGES.index(language)]
    measured = ", ".join(f"{name} {value}" for name, value in result.measured.items())
    return "  ".join(part for part in (f"{verdict:8}", result.name, measured, result.reason) if part)


def dump_text(report: Report, language: str) -> str:
    """Write a report for a person."""
    counts = Counter(result.verdict.value for result in report.results)
    summary = _SUMMARY[_LANGUAGES.index(language)].format(
        **{verdict.value: counts[verdict.value] for verdict in Verdict}
    )
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    lines = [report.path, report.system, versions, ""]
    lines += [dump_result(result, language) for result in report.results]
    return "\n".join([*lines, "", summary])


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _without_secrets(path: str) -> str:
    return _QUERY.sub(r"\1", _CREDENTIALS.sub("", path))
