"""A terminal's key and identity on disk, and the enrolment that makes them."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from terminal.config import TerminalConfig
from terminal.daemon import enrol, run_daemon
from terminal.data_folder import DaemonLock
from terminal.disk import FolderDisk
from terminal.errors import ConfigurationError, GatewayRefused, GatewayUnreachable, NotEnrolled
from terminal.identity import Identity, is_enrolled, load_identity, prepare_enrolment_key, store_identity
from terminal.journal.journal import Journal
from tests.terminal.conftest import ENROLMENT, GatewayStandIn, lose_answer, make_request
from wire import es256

URL = "http://127.0.0.1:8080"
MakeConfig = Callable[..., TerminalConfig]


def make_key() -> es256.PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_id(key: es256.PrivateKey) -> bytes:
    return es256.key_id_of(key.public_key())


def test_key_is_on_disk_for_its_owner_only_before_it_is_sent(tmp_path: Path) -> None:
    key = prepare_enrolment_key(tmp_path, make_key)
    (path,) = tmp_path.iterdir()
    assert path.name == f"key-{key_id(key).hex()}.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")


def test_unfinished_enrolment_goes_on_with_the_same_key(tmp_path: Path) -> None:
    first = prepare_enrolment_key(tmp_path, make_key)
    assert key_id(prepare_enrolment_key(tmp_path, make_key)) == key_id(first)


def test_stored_identity_is_read_back(tmp_path: Path) -> None:
    key = prepare_enrolment_key(tmp_path, make_key)
    store_identity(tmp_path, Identity(key, URL, ENROLMENT))
    identity = load_identity(tmp_path)
    assert (key_id(identity.private_key), identity.gateway_url) == (key_id(key), URL)
    assert identity.enrolment == ENROLMENT


def test_new_identity_replaces_the_old_one_and_its_key(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        key = prepare_enrolment_key(tmp_path, make_key)
        store_identity(tmp_path, Identity(key, url, ENROLMENT))
    assert load_identity(tmp_path).gateway_url == "http://127.0.0.1:2"
    assert [path.name for path in tmp_path.glob("key-*")] == [f"key-{key_id(key).hex()}.pem"]


def test_without_identity_the_daemon_says_how_to_get_one(tmp_path: Path) -> None:
    assert not is_enrolled(tmp_path)
    with pytest.raises(NotEnrolled, match="enrol"):
        load_identity(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"gateway_url": 3}'])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    key = prepare_enrolment_key(tmp_path, make_key)
    store_identity(tmp_path, Identity(key, URL, ENROLMENT))
    (key_path,) = tmp_path.glob("key-*.pem")
    key_path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="key"):
        load_identity(tmp_path)
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"identity\.json"):
        load_identity(tmp_path)


async def test_lost_answer_is_made_good_by_enrolling_again_with_the_same_code(
    gateway: GatewayStandIn, make_config: MakeConfig
) -> None:
    config = make_config()
    gateway.faults.append(lose_answer)
    with pytest.raises(GatewayUnreachable):
        await enrol(config, gateway.url, "ABCD-1234", again=False)
    assert not is_enrolled(config.data_path)
    answer = await enrol(config, gateway.url, "ABCD-1234", again=False)
    assert answer == ENROLMENT
    assert len(gateway.enrolled) == 1
    assert load_identity(config.data_path).gateway_url == gateway.url


async def test_enrolled_terminal_is_not_enrolled_again_by_mistake(
    gateway: GatewayStandIn, make_config: MakeConfig
) -> None:
    config = make_config()
    await enrol(config, gateway.url, "ABCD-1234", again=False)
    before = load_identity(config.data_path)
    with pytest.raises(ConfigurationError, match="--again"):
        await enrol(config, gateway.url, "EFGH-5678", again=False)
    with pytest.raises(GatewayRefused) as caught:
        await enrol(config, gateway.url, "ABCD-1234", again=True)
    assert caught.value.code == "enrolment_code_invalid"
    # A new identity that was not granted leaves the old one in force.
    assert key_id(load_identity(config.data_path).private_key) == key_id(before.private_key)
    await enrol(config, gateway.url, "EFGH-5678", again=True)
    assert key_id(load_identity(config.data_path).private_key) != key_id(before.private_key)


async def test_identity_with_unknown_outcomes_is_not_given_up(
    gateway: GatewayStandIn, make_config: MakeConfig
) -> None:
    config = make_config()
    await enrol(config, gateway.url, "ABCD-1234", again=False)
    Journal(FolderDisk(config.data_path)).record_attempt(make_request(), at_ms=1)
    with pytest.raises(ConfigurationError, match="no outcome"):
        await enrol(config, gateway.url, "EFGH-5678", again=True)


async def test_plain_http_to_another_machine_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        await enrol(make_config(), "http://gateway.example.com", "ABCD-1234", again=False)


async def test_two_daemons_cannot_share_a_data_folder(
    make_config: MakeConfig, enrol_till: Callable[[TerminalConfig], es256.PrivateKey]
) -> None:
    config = make_config()
    enrol_till(config)
    with (
        DaemonLock(config.data_path),
        pytest.raises(ConfigurationError, match="daemon already uses this data_folder"),
    ):
        async with run_daemon(config):
            pass


async def test_till_port_that_is_taken_is_said_in_a_sentence(
    start_till: Callable[..., object],
    make_config: MakeConfig,
    enrol_till: Callable[..., object],
    tmp_path: Path,
) -> None:
    till = await start_till()
    other = make_config(
        data_folder=str(tmp_path / "other"),
        till_api=msgspec.structs.replace(make_config().till_api, port=int(till.url.rsplit(":", 1)[1])),
    )
    enrol_till(other)
    with pytest.raises(ConfigurationError, match="can't listen"):
        async with run_daemon(other):
            pass
