"""The configuration file is read strictly: what is misspelt or unsafe does not start a till."""

from __future__ import annotations

from pathlib import Path

import pytest

from terminal.config import check_gateway_url, load_config, parse_config
from terminal.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
MINIMAL = b'data_folder = "var"\n'


def test_the_shipped_file_shows_the_defaults() -> None:
    shipped = load_config(ROOT / "config" / "terminal.toml")
    bare = parse_config(MINIMAL, source="bare")
    assert shipped.gateway == bare.gateway
    assert (shipped.till_api, shipped.sale, shipped.resolver) == (bare.till_api, bare.sale, bare.resolver)
    assert (shipped.logging, shipped.language, shipped.printer) == (bare.logging, bare.language, None)


def test_data_folder_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "terminal.toml").write_bytes(b'data_folder = "till-1"\n')
    assert load_config(tmp_path / "terminal.toml").data_path == tmp_path / "till-1"


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (b'devises = ["camera:0"]', "devises"),
        (b"[sale]\nanswer_deadline = 3", "answer_deadline"),
        (b"[sale]\ndeadline_ms = 3", "deadline_ms"),
        (b'[till_api]\naccess_key = "short"', "access_key"),
        (b'[till_api]\nhost = "0.0.0.0"', "till_api.host"),
        (b'[gateway]\nurl = "http://gateway.example.com"', "gateway.url"),
        (b'[gateway]\nurl = "ftp://gateway.example.com"', "gateway.url"),
        (b'[logging]\nformat = "xml"', "logging.format"),
    ],
)
def test_a_wrong_key_or_value_is_named(lines: bytes, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parse_config(MINIMAL + lines, source="terminal.toml")


def test_a_file_that_is_missing_or_no_toml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="not TOML"):
        parse_config(b"\xff\xfe", source="terminal.toml")


def test_plain_http_to_another_machine_must_be_allowed_outright() -> None:
    address = "http://gateway.internal:8080/"
    assert check_gateway_url(address, plain_http_allowed=True) == "http://gateway.internal:8080"
    assert check_gateway_url("http://127.0.0.1:8080", plain_http_allowed=False) == "http://127.0.0.1:8080"
