"""The checks of a device, one after another, whatever its driver does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from terminal.conformance.bench import Bench, CardBench, CodeBench
from terminal.conformance.card_checks import CARD_CHECKS
from terminal.conformance.code_checks import CODE_CHECKS
from terminal.conformance.model import Check, CheckFailed, CheckSkipped, Hands, Result, Verdict
from terminal.devices.device import Device, is_card_reader, is_code_scanner
from terminal.errors import ConfigurationError, PresentationRefused, ReaderNotInstalled, TerminalError

OPEN: Final = "opens"
"""The name under which it is told that a device did not even open."""


def checks_of(device: Device) -> Sequence[Check[Any]]:
    """Return what is asked of a device of this kind."""
    return CARD_CHECKS if is_card_reader(device) else CODE_CHECKS


def run_check(check: Check[Any], device: Device, hands: Hands, *, wait_s: float) -> Result:
    """Open a device, hold it to one check, and close it; whatever a driver throws is a failure.

    Args:
        wait_s: how long is waited for what hands were asked to do.
    """
    try:
        bench = _make_bench(device, hands, wait_s)
        device.open()
        return Result(check.name, Verdict.PASSED, measured=check.run(bench))
    except CheckSkipped as skip:
        return Result(check.name, Verdict.SKIPPED, str(skip))
    except CheckFailed as failure:
        return Result(check.name, Verdict.FAILED, str(failure))
    except (ReaderNotInstalled, ConfigurationError) as error:
        return Result(check.name, Verdict.FAILED, str(error))
    except (PresentationRefused, TerminalError) as error:
        return Result(check.name, Verdict.FAILED, f"unexpected {error.code}: {error}")
    except Exception as error:  # noqa: BLE001 - a library's surprise is what this looks for
        # Its text may hold what a card or a code said.
        return Result(check.name, Verdict.FAILED, f"unexpected {type(error).__name__}")
    finally:
        device.close()


def run_suite(
    device: Device,
    hands: Hands,
    *,
    wait_s: float,
    begin: Callable[[Check[Any]], object],
    end: Callable[[Result], object],
) -> list[Result]:
    """Hold a device to all of its checks; one that does not open is held to none.

    Args:
        begin, end: told before and after each check.
    """
    try:
        device.open()
        device.close()
    except TerminalError as error:
        failed = Result(OPEN, Verdict.FAILED, f"{error.code}: {error}")
        end(failed)
        return [failed]
    results = []
    for check in checks_of(device):
        begin(check)
        results.append(run_check(check, device, hands, wait_s=wait_s))
        end(results[-1])
    return results


def _make_bench(device: Device, hands: Hands, wait_s: float) -> Bench[Any]:
    if is_card_reader(device):
        return CardBench(device, hands, wait_s=wait_s)
    assert is_code_scanner(device)
    return CodeBench(device, hands, wait_s=wait_s)
