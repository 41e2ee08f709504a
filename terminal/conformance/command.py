"""`tapscan-terminal check-reader`: a device held to the suite, with a person's help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from terminal.conformance.person import PersonHands
from terminal.conformance.report import dump_json, dump_result, dump_text, make_report
from terminal.conformance.suite import run_suite
from terminal.devices.paths import make_device
from terminal.errors import ConfigurationError
from wire.notices import CHINESE, ENGLISH


def check_device(
    path: str, *, wait_s: float, json_path: Path | None, language: str, say: Callable[[str], object]
) -> bool:
    """Run every check of a device, tell as it goes, and return whether nothing failed.

    Args:
        wait_s: how long is waited for what the person is asked to do.
        language: `en` or `zh-Hans`.
        say: takes a line for the person.

    Raises:
        ConfigurationError: the path names no device, the language is unknown, or the report can't be written.
    """
    if language not in (ENGLISH, CHINESE):
        raise ConfigurationError(f"a language is {ENGLISH} or {CHINESE}")
    results = run_suite(
        make_device(path),
        PersonHands(say, language),
        wait_s=wait_s,
        begin=lambda check: say(f"{check.name}: {check.proves}"),
        end=lambda result: say(f"  {dump_result(result, language)}"),
    )
    report = make_report(path, results)
    say("")
    say(dump_text(report, language))
    if json_path is not None:
        try:
            json_path.write_text(dump_json(report), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{json_path}: {error.strerror}") from None
    return report.is_conforming
