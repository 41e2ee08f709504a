"""The application identifier under which terminals find our payment application.

F0 is the first byte of the unregistered proprietary category of ISO 7816-5; then "POSPAY", application 01,
major version 01 (protocol section 3a). The same AID routes a consumer-presented QR code.
"""

from __future__ import annotations

from typing import Final

PAYMENT_AID: Final = bytes.fromhex("F0504F535041590101")
NDEF_AID: Final = bytes.fromhex("D2760000850101")
"""The NDEF tag application of NFC Forum Type 4 tags (T4T specification 2.0, section 5)."""
