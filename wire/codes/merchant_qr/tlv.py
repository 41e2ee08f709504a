"""Data objects of EMVCo merchant-presented codes: id, length and value, all of them text.

Lengths count characters, not bytes, whatever the alphabet (EMVCo MPM 1.1, section 3.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wire.errors import PaymentCodeError

VALUE_CHARS_MAX: Final = 99

_HEAD: Final = re.compile(r"([0-9]{2})([0-9]{2})", re.ASCII)
_ID: Final = re.compile(r"[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DataObject:
    """One data object; templates stay text until somebody reads them."""

    id: str
    value: str


def parse_data_objects(text: str) -> list[DataObject]:
    """Read data objects that fill the text exactly; one level.

    Raises:
        PaymentCodeError: a head that is not four digits, an empty value, a value cut short, or an id
            that comes twice.
    """
    objects: dict[str, DataObject] = {}
    offset = 0
    while offset < len(text):
        head = _HEAD.match(text, offset)
        if head is None:
            raise PaymentCodeError(f"no id and length at character {offset}")
        object_id, length = head.group(1), int(head.group(2))
        value = text[head.end() : head.end() + length]
        if not value or len(value) != length or object_id in objects:
            raise PaymentCodeError(f"object {object_id} is empty, cut short or there twice")
        objects[object_id] = DataObject(object_id, value)
        offset = head.end() + length
    return list(objects.values())


def dump_data_object(object_id: str, value: str) -> str:
    """Write one data object.

    Raises:
        PaymentCodeError: the id is not two digits, or the value has not 1 to VALUE_CHARS_MAX characters.

    >>> dump_data_object("59", "最佳运输")
    '5904最佳运输'
    """
    if _ID.fullmatch(object_id) is None or not 0 < len(value) <= VALUE_CHARS_MAX:
        raise PaymentCodeError(f"an object has two digits of id and 1 to {VALUE_CHARS_MAX} characters")
    return f"{object_id}{len(value):02d}{value}"
