"""`tapscan-gateway payment show`: where a payment stands, and who at the shop answered for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.cli import main
from gateway.merchants.model import StaffMember, StaffStatus
from gateway.payments.life import Refund
from gateway.storage.sqlite.store import open_sqlite_store
from wire.messages.staff import StaffRole

if TYPE_CHECKING:
    from tests.conftest import Shop

TILL = "TERMNA01"
REFUND_ID = "0REFVND0000000000000000001"


def run(capsys: pytest.CaptureFixture[str], toml: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--config", str(toml)])
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


async def pay_and_refund(path: Path, shop: Shop) -> str:
    store = await open_sqlite_store(path)
    await shop.furnish(store)
    merchant_id = shop.merchant.merchant_id
    await store.add_staff(
        StaffMember("STAFF1", merchant_id, "Mira", StaffRole.MANAGER, "hash", 0, StaffStatus.ACTIVE, 1)
    )
    await store.set_refund_limit(TILL, 10_000)
    paid = await store.book_payment(shop.booking(1))
    await store.change_payment(
        Refund(paid.payment_id, TILL, REFUND_ID, 300, "broken cup", "STAFF1"), shop.now_ms + 4
    )
    await store.close()
    return paid.payment_id


def test_a_payment_is_shown_with_who_gave_money_back(
    tmp_path: Path, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    # Before any command, which would take the log's lines to where this test's output goes.
    payment_id = asyncio.run(pay_and_refund(tmp_path / "g.sqlite3", shop))
    toml = tmp_path / "gateway.toml"
    toml.write_text('[storage]\ndatabase = "g.sqlite3"\nvault_key_file = "vault.key"\n')
    run(capsys, toml, "migrate", "--new-vault-key")

    status, out, err = run(capsys, toml, "payment", "show", payment_id, "--json")
    assert status == 0, err
    shown = json.loads(out)
    assert (shown["state"], shown["charged_minor"], shown["refunded_minor"]) == ("succeeded", 1_250, 300)
    assert shown["acts"] == [
        {
            "at_ms": shop.now_ms + 4,
            "act": "refunded",
            "amount_minor": 300,
            "code": None,
            "staff_id": "STAFF1",
            "staff_name": "Mira",
        }
    ]
    assert "Mira" in run(capsys, toml, "payment", "show", payment_id)[1]
    status, _, err = run(capsys, toml, "payment", "show", "0PAYMENT0000000000000NONE0")
    assert (status, "there is no such payment" in err) == (1, True)
