"""The configuration file is read strictly: what is misspelt or unsafe does not start a gateway."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import GatewayConfig, load_config, parse_config
from gateway.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def test_the_shipped_file_shows_the_defaults_and_listens_on_loopback() -> None:
    shipped = parse_config((ROOT / "config" / "gateway.toml").read_bytes(), source="gateway.toml")
    assert shipped == GatewayConfig()
    assert shipped.listen.host == "127.0.0.1"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[storage]\ndatabase = "data/g.sqlite3"\nvault_key_file = "/etc/tapscan/vault.key"\n')
    config = load_config(path)
    assert config.database_path == tmp_path / "data/g.sqlite3"
    assert config.vault_key_path == Path("/etc/tapscan/vault.key")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ("[listen]\nhots = 'x'", "hots"),
        ("[limit]\n", "limit"),
        ("[listen]\nport = 70000", "listen.port"),
        ("[listen]\nport = '8470'", "listen.port"),
        ("[listen]\npublic_url = 'ftp://pay.example.com'", "listen.public_url"),
        ("[listen]\npublic_url = 'https://pay.example.com/'", "listen.public_url"),
        ("[listen]\npublic_url = 'https://user@pay.example.com'", "listen.public_url"),
        ("[listen]\npublic_url = 'https://[pay'", "listen.public_url"),
        ("[limits]\nbody_bytes_max = 16385", "limits.body_bytes_max"),
        ("[limits]\nwrite_queue_max = 0", "limits.write_queue_max"),
        ("[clock]\nsignature_window_ms = 300001", "clock.signature_window_ms"),
        ("[logging]\nformat = 'xml'", "logging.format"),
    ],
)
def test_a_wrong_key_or_value_is_named(lines: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parse_config(lines.encode(), source="gateway.toml")


def test_a_file_that_is_missing_or_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * 70_000)
    with pytest.raises(ConfigurationError, match="longer than"):
        load_config(tmp_path / "long.toml")


@given(st.one_of(st.binary(max_size=100), st.text(max_size=100).map(str.encode)))
def test_any_bytes_give_a_configuration_or_a_configuration_error(raw: bytes) -> None:
    try:
        parse_config(raw, source="x")
    except ConfigurationError:
        return


def test_database_url_of_the_environment_comes_before_the_files_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text('[storage]\ndatabase = "postgresql://db/one"\n')
    assert load_config(path).database_url == "postgresql://db/one"
    env = {"TAPSCAN_DATABASE_URL": "postgres://db/two"}
    assert load_config(path, env).database_url == "postgres://db/two"
    path.write_text("")
    assert load_config(path).database_url is None
    assert load_config(path, env).database_url == "postgres://db/two"


def test_environment_that_names_no_url_is_refused_without_quoting_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("")
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, {"TAPSCAN_DATABASE_URL": "mysql://pay:s3cret@db/x"})
    assert "s3cret" not in str(caught.value)
