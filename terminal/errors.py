"""Failures at the till, each with a stable code of wire/notices.py or a reason for the log.

TerminalError
├── ReaderUnavailable        the device or its library can't be used now; the supervisor tries again
├── ReaderNotInstalled       its library is missing; nothing is tried until the next start
├── CardRemoved              the card left before it had answered
├── PresentationRefused      what was presented can't be used here; code says why
├── GatewayUnreachable       no answer: the attempt's outcome is unknown, resend the same id
├── GatewayRefused           the gateway answered with a problem; code and retryable are its own
├── JournalUnwritable        the attempt could not be stored, so it was not sent
├── PrinterUnavailable       the receipt did not print; the payment stands
├── SaleRefused              the till asked for what this daemon can't do now; code says why
├── NotEnrolled              the daemon has no identity yet
└── ConfigurationError       the daemon cannot start like this
"""

from __future__ import annotations


class TerminalError(Exception):
    """Base: `code` is shown and logged, `retryable` means this same thing, unchanged."""

    code = "internal"
    retryable = False

    def __init__(self, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(detail or (code or self.code))
        if code is not None:
            self.code = code


class ReaderUnavailable(TerminalError):
    """The device is unplugged, its service is down, or the library failed; try again later."""

    code = "reader_unavailable"
    retryable = True


class ReaderNotInstalled(TerminalError):
    """The library this reader needs is not installed on this machine."""

    code = "reader_not_installed"


class CardRemoved(TerminalError):
    """The card left the field before it had answered."""

    code = "card_removed"


class PresentationRefused(TerminalError):
    """What was presented can't be used here; the sale goes on."""

    code = "card_not_supported"


class GatewayUnreachable(TerminalError):
    """No answer came: what became of the attempt is unknown."""

    code = "gateway_unreachable"
    retryable = True


class GatewayRefused(TerminalError):
    """The gateway answered with a problem."""

    def __init__(self, code: str, *, retryable: bool, detail: str = "") -> None:
        super().__init__(detail, code=code)
        self.retryable = retryable


class JournalUnwritable(TerminalError):
    """The journal could not be written, so nothing was sent."""

    code = "journal_unwritable"
    retryable = True


class SaleRefused(TerminalError):
    """The till asked for a sale, or something of one, that can't be had now."""

    code = "sale_in_progress"


class PrinterUnavailable(TerminalError):
    """The receipt printer did not take the receipt; the payment it is of stands."""

    code = "printer_unavailable"
    retryable = True


class NotEnrolled(TerminalError):
    """The daemon has no key or identity yet: enrol it."""

    code = "till_not_enrolled"


class ConfigurationError(TerminalError):
    """The daemon cannot start with this configuration; the detail names the key."""

    code = "configuration_invalid"
