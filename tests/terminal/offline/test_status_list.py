"""What a till believes: from the gateway, verified, never older, and still there after a restart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from terminal.disk import FolderDisk
from terminal.errors import GatewayRefused, GatewayUnreachable
from terminal.offline.rules import Exposure, judge_sale
from terminal.offline.status_list import CLOCK_SKEW_MS_MAX, TRUST_FILE, TrustStore
from tests.terminal.conftest import until
from tests.terminal.offline.conftest import (
    DAY_MS,
    ISSUER_KEY,
    NOW_MS,
    RULES,
    STATUS_LIST,
    TERMINAL_KEY,
    sale_of,
)
from tests.terminal.offline.gateways import REVOKED, UNREACHABLE, DirectGateway, HttpGateway, OfflineBook
from tests.terminal.offline.test_uploader import _client
from wire import es256
from wire.es256 import PrivateKey
from wire.messages.offline import IssuerAnswer, IssuerKey, StatusListAnswer
from wire.tokens.status_list import StatusList, make_status_list, mint_status_list

OTHER_KEY = ec.derive_private_key(0xBAD, ec.SECP256R1())


async def _at_once(work: Callable[[], None]) -> None:
    work()


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Callable[[], TrustStore]:
    return lambda: TrustStore(FolderDisk(tmp_path), clock, _at_once)


@pytest.fixture
def gateway() -> DirectGateway:
    gateway = DirectGateway(OfflineBook())
    gateway.issuer = _issuer(ISSUER_KEY)
    gateway.listed = _listed(STATUS_LIST, etag="a1")
    return gateway


def _issuer(*keys: PrivateKey, gateway_time_ms: int = NOW_MS) -> IssuerAnswer:
    shown = [
        IssuerKey(
            key_id=es256.key_id_of(key.public_key()), public_key=es256.dump_public_key(key.public_key())
        )
        for key in keys
    ]
    return IssuerAnswer(keys=shown, gateway_time_ms=gateway_time_ms, rules=RULES)


def _listed(status_list: StatusList, *, etag: str, key: PrivateKey = ISSUER_KEY) -> StatusListAnswer:
    return StatusListAnswer(etag=etag, status_list=mint_status_list(status_list, key))


def _is_ready(store: TrustStore, now_ms: int = NOW_MS) -> bool:
    return judge_sale(sale_of(1_000), store.trust, Exposure(0, 0), now_ms=now_ms) is None


async def test_a_till_that_was_never_told_believes_nobody(open_store: Callable[[], TrustStore]) -> None:
    store = open_store()
    assert (dict(store.trust.issuer_keys), store.trust.rules, store.trust.status_list) == ({}, None, None)
    assert not _is_ready(store)


async def test_what_was_synced_is_believed_and_survives_a_restart(
    open_store: Callable[[], TrustStore], gateway: DirectGateway
) -> None:
    store = open_store()
    await store.sync(gateway)
    for one in (store, open_store()):
        assert list(one.trust.issuer_keys) == [es256.key_id_of(ISSUER_KEY.public_key())]
        assert (one.trust.rules, one.trust.status_list) == (RULES, STATUS_LIST)
        assert one.trust.clock_set_ms == NOW_MS
        assert _is_ready(one)


async def test_the_list_is_fetched_by_its_tag_and_kept_while_it_is_the_same(
    open_store: Callable[[], TrustStore], gateway: DirectGateway
) -> None:
    store = open_store()
    await store.sync(gateway)
    await store.sync(gateway)
    again = open_store()
    await again.sync(gateway)
    assert gateway.known_etags == [None, "a1", "a1"]
    assert again.trust.status_list == STATUS_LIST
    fresh = make_status_list(STATUS_LIST.issued_s + 60, 900, [13, 14])
    gateway.listed = _listed(fresh, etag="a2")
    await again.sync(gateway)
    assert again.trust.status_list == fresh == open_store().trust.status_list


async def test_an_older_list_is_not_taken_back(
    open_store: Callable[[], TrustStore], gateway: DirectGateway
) -> None:
    store = open_store()
    await store.sync(gateway)
    gateway.listed = _listed(make_status_list(STATUS_LIST.issued_s - 1, 900, ()), etag="b0")
    await store.sync(gateway)
    assert store.trust.status_list == STATUS_LIST
    await store.sync(gateway)
    assert gateway.known_etags[-1] == "a1"


@pytest.mark.parametrize(
    "status_list",
    [mint_status_list(make_status_list(NOW_MS // 1000, 900, ()), OTHER_KEY), b"nonsense"],
    ids=["forged", "nonsense"],
)
async def test_a_list_by_nobody_we_believe_changes_nothing(
    open_store: Callable[[], TrustStore], gateway: DirectGateway, status_list: bytes
) -> None:
    store = open_store()
    await store.sync(gateway)
    gateway.listed = StatusListAnswer(etag="b1", status_list=status_list)
    await store.sync(gateway)
    assert store.trust.status_list == STATUS_LIST == open_store().trust.status_list


async def test_a_list_whose_key_is_withdrawn_is_believed_no_more_and_asked_for_anew(
    open_store: Callable[[], TrustStore], gateway: DirectGateway
) -> None:
    store = open_store()
    await store.sync(gateway)
    gateway.issuer = _issuer(OTHER_KEY)
    gateway.listed = _listed(STATUS_LIST, etag="a1", key=OTHER_KEY)
    await store.sync(gateway)
    assert gateway.known_etags[-1] is None
    assert store.trust.status_list == STATUS_LIST
    assert list(store.trust.issuer_keys) == [es256.key_id_of(OTHER_KEY.public_key())]


async def test_two_keys_live_side_by_side_and_a_broken_one_is_passed_over(
    open_store: Callable[[], TrustStore], gateway: DirectGateway
) -> None:
    broken = IssuerKey(key_id=bytes(8), public_key=b"\x05" + bytes(32))
    issuer = _issuer(OTHER_KEY, ISSUER_KEY)
    gateway.issuer = IssuerAnswer(keys=[*issuer.keys, broken], gateway_time_ms=NOW_MS, rules=RULES)
    store = open_store()
    await store.sync(gateway)
    assert len(store.trust.issuer_keys) == 2
    assert _is_ready(store)


async def test_rules_can_be_withdrawn(open_store: Callable[[], TrustStore], gateway: DirectGateway) -> None:
    store = open_store()
    await store.sync(gateway)
    gateway.issuer = IssuerAnswer(keys=gateway.issuer.keys, gateway_time_ms=NOW_MS)
    await store.sync(gateway)
    assert store.trust.rules is None
    assert not _is_ready(open_store())


@pytest.mark.parametrize(
    ("ahead_ms", "is_right"),
    [
        (0, True),
        (CLOCK_SKEW_MS_MAX, True),
        (CLOCK_SKEW_MS_MAX + 1, False),
        (-CLOCK_SKEW_MS_MAX, True),
        (-CLOCK_SKEW_MS_MAX - 1, False),
    ],
)
async def test_a_clock_counts_as_set_only_while_the_gateway_agrees(
    open_store: Callable[[], TrustStore],
    gateway: DirectGateway,
    clock: Clock,
    ahead_ms: int,
    is_right: bool,
) -> None:
    clock.ms = NOW_MS + ahead_ms
    store = open_store()
    await store.sync(gateway)
    assert store.trust.clock_set_ms == (clock.ms if is_right else None)


async def test_a_clock_that_goes_wrong_keeps_the_time_it_was_last_right(
    open_store: Callable[[], TrustStore], gateway: DirectGateway, clock: Clock
) -> None:
    store = open_store()
    await store.sync(gateway)
    clock.ms += DAY_MS
    await store.sync(gateway)
    assert store.trust.clock_set_ms == NOW_MS


@pytest.mark.parametrize("fault", [UNREACHABLE, REVOKED])
async def test_a_failure_halfway_keeps_what_came_before_it(
    open_store: Callable[[], TrustStore], gateway: DirectGateway, clock: Clock, fault: Exception
) -> None:
    store = open_store()
    await store.sync(gateway)
    clock.ms += 60_000
    gateway.issuer = _issuer(ISSUER_KEY, gateway_time_ms=clock.ms)
    for faults in ([fault], [None, fault]):
        gateway.faults.extend(faults)
        with pytest.raises((GatewayUnreachable, GatewayRefused)):
            await store.sync(gateway)
        assert store.trust.status_list == STATUS_LIST
    assert store.trust.clock_set_ms == clock.ms == open_store().trust.clock_set_ms


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": 7}', b"\xff\xff"])
async def test_a_damaged_file_counts_as_nothing_kept(
    open_store: Callable[[], TrustStore], tmp_path: Path, gateway: DirectGateway, content: bytes
) -> None:
    (tmp_path / TRUST_FILE).write_bytes(content)
    store = open_store()
    assert not _is_ready(store)
    await store.sync(gateway)
    assert _is_ready(open_store())


async def test_a_file_that_another_hand_changed_is_verified_anew(
    open_store: Callable[[], TrustStore], tmp_path: Path, gateway: DirectGateway
) -> None:
    gateway.listed = StatusListAnswer(etag="a1", status_list=mint_status_list(STATUS_LIST, ISSUER_KEY))
    await open_store().sync(gateway)
    content = (tmp_path / TRUST_FILE).read_bytes()
    at = content.index(b'"status_list":"') + 60
    swapped = b"A" if content[at : at + 1] != b"A" else b"B"
    (tmp_path / TRUST_FILE).write_bytes(content[:at] + swapped + content[at + 1 :])
    store = open_store()
    assert store.trust.status_list is None
    await store.sync(gateway)
    assert gateway.known_etags[-1] is None
    assert store.trust.status_list == STATUS_LIST


async def test_keeping_in_sync_goes_on_through_failures(
    open_store: Callable[[], TrustStore], gateway: DirectGateway
) -> None:
    store = open_store()
    gateway.faults.extend([UNREACHABLE, ValueError("a bug"), REVOKED])
    keeping = asyncio.create_task(
        store.keep_in_sync(gateway, interval_ms=2, retry_delay_ms=1, jitter=random.Random(1).random)
    )
    await until(lambda: len(gateway.known_etags) > 3)
    assert _is_ready(store)
    keeping.cancel()
    await asyncio.wait({keeping})


async def test_a_sync_over_http_is_signed_and_names_the_known_list(
    open_store: Callable[[], TrustStore],
) -> None:
    server = HttpGateway(OfflineBook(), TERMINAL_KEY.public_key(), NOW_MS)
    server.issuer = _issuer(ISSUER_KEY)
    server.listed = _listed(STATUS_LIST, etag="a1")
    store = open_store()
    async with server.serve(), _client(server.url) as gateway:
        await store.sync(gateway)
        await store.sync(gateway)
        assert server.queries == ["", "known=a1"]
        server.listed = StatusListAnswer(etag="a2")
        with pytest.raises(GatewayUnreachable):
            await gateway.fetch_status_list("a1")
    assert _is_ready(store)
