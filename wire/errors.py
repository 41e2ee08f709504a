"""The root of every error the wire raises.

    WireError                   any input that is not what the contract says
    ├── MoneyError              an amount or currency that does not exist
    ├── IdError                 a malformed identifier
    ├── EncodingError           base45, base32, CBOR, TLV: bytes that do not parse
    ├── TokenError              a payment token that must be refused
    ├── PaymentCodeError        a QR or numeric code that is no payment code of ours
    ├── CardError               an answer of a card that breaks the dialogue
    └── SignatureError          a request whose signature does not hold

Each class has a stable snake_case `code` that is safe to show and to log: it never contains the input.
An error's text may say where the input broke (an offset, a tag, a length), never the input itself,
because tokens and card data must not reach a log.
"""

from __future__ import annotations


class WireError(Exception):
    """Base of all errors of the wire; never retryable, since the same bytes fail the same way."""

    code = "malformed"
    retryable = False

    def __init__(self, detail: str = "", *, code: str | None = None) -> None:
        super().__init__(detail or (code or self.code))
        if code is not None:
            self.code = code


class MoneyError(WireError):
    """An amount or a currency that does not exist."""

    code = "amount_invalid"


class IdError(WireError):
    """An identifier that is not of the form its kind has."""

    code = "id_invalid"


class EncodingError(WireError):
    """Bytes or text that do not parse in the encoding they claim."""

    code = "malformed"


class TokenError(WireError):
    """A payment token that must be refused; `code` says why."""

    code = "token_invalid"


class PaymentCodeError(WireError):
    """A scanned text that is no payment code of ours."""

    code = "code_not_recognised"


class CardError(WireError):
    """An answer of a card that breaks the dialogue."""

    code = "card_answer_invalid"


class SignatureError(WireError):
    """A request whose signature, digest or freshness does not hold."""

    code = "signature_invalid"
