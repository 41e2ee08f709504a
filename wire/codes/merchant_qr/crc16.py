"""CRC-16/CCITT-FALSE (IBM 3740), the checksum of merchant-presented codes; it is no security.

Polynomial 0x1021, start 0xFFFF, no reflection, no final exclusive or (EMVCo MPM 1.1, section 4.7.3).
"""

from __future__ import annotations

import binascii
from typing import Final

_START: Final = 0xFFFF


def crc16(data: bytes) -> int:
    """Return the checksum of these bytes.

    >>> f"{crc16(b'123456789'):04X}"
    '29B1'
    """
    # The standard library's CRC-CCITT has this very polynomial and bit order; only the start differs.
    return binascii.crc_hqx(data, _START)
