"""gateway.toml: what one gateway process is told; an unknown key is an error that names it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from gateway.errors import ConfigurationError
from gateway.storage.place import URL_VARIABLE, is_database_url
from wire.cards.ntag424.card_profile import make_link_file
from wire.errors import WireError
from wire.http_signatures import CREATED_WINDOW_MS
from wire.messages.base import BODY_BYTES_MAX

CONFIG_BYTES_MAX: Final = 64 * 1024
NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
FilePath = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the file: immutable, unknown keys refused."""


class ListenSettings(Section, frozen=True):
    """Where the gateway listens, and what the world calls it."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Port = 8470
    """0 takes any free port; it is printed when the gateway is ready."""
    public_url: str | None = None
    """What terminals and devices sign as the beginning of @target-uri; behind a proxy that ends TLS it is
    the proxy's address. Left out, it is http://, the host and the port bound."""


class StorageSettings(Section, frozen=True):
    """Where things are kept; relative paths start at the configuration file's folder."""

    database: FilePath = "../var/gateway/tapscan.sqlite3"
    """A SQLite file, or a postgresql:// URL; the variable TAPSCAN_DATABASE_URL comes before it."""
    vault_key_file: FilePath = "../var/gateway/vault.key"
    """64 hexadecimal digits, for its owner only; the variable TAPSCAN_VAULT_KEY comes before it."""


class LimitSettings(Section, frozen=True):
    """What bounds one process; above a bound the answer is a problem, never a wait without end."""

    write_queue_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    """Most bookings waiting for the database; above it the answer is gateway_busy."""
    payments_in_flight_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 512
    """Most payments one process decides at a time; above it the answer is gateway_busy, at once."""
    body_bytes_max: Annotated[int, msgspec.Meta(ge=2_048, le=BODY_BYTES_MAX)] = BODY_BYTES_MAX
    body_read_ms: Annotated[int, msgspec.Meta(ge=100, le=120_000)] = 10_000
    """How long a client may take to send a body."""
    nonces_max: Annotated[int, msgspec.Meta(ge=1_000, le=10_000_000)] = 500_000
    """Most request nonces remembered per nonce window, at about 70 bytes each."""
    shutdown_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 10_000
    """How long requests in flight may take to finish when the gateway is told to stop."""


class ProcessSettings(Section, frozen=True):
    """How the work is divided."""

    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Processes that serve requests. 1: one process does everything. More: the main process keeps the
    SQLite file, or nothing where there is a PostgreSQL server, and starts that many others."""


class ClockSettings(Section, frozen=True):
    """How far other clocks may be from ours."""

    signature_window_ms: Annotated[int, msgspec.Meta(ge=1_000, le=CREATED_WINDOW_MS)] = CREATED_WINDOW_MS
    """How old or early a signature may be; its nonce is remembered for twice as long."""


class DeadlineSettings(Section, frozen=True):
    """How long a payment may stay open; at its deadline everything held for it is given back."""

    confirm_ms: Annotated[int, msgspec.Meta(ge=10_000, le=3_600_000)] = 120_000
    """How long a holder may take to confirm."""
    capture_ms: Annotated[int, msgspec.Meta(ge=10_000, le=31 * 86_400_000)] = 7 * 86_400_000
    """How long a hold stands."""
    intent_ms: Annotated[int, msgspec.Meta(ge=10_000, le=3_600_000)] = 300_000
    """How long a till's code asks, where the till does not say."""
    sweep_ms: Annotated[int, msgspec.Meta(ge=100, le=60_000)] = 1_000
    """How often what is due is looked for."""


class CodeSettings(Section, frozen=True):
    """Tills' own codes (EMVCo merchant-presented)."""

    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$", max_length=2)] = "DE"
    """ISO 3166 alpha-2, printed in every code."""
    category: Annotated[str, msgspec.Meta(pattern="^[0-9]{4}$", max_length=4)] = "5999"
    """Merchant category code (ISO 18245), printed in every code."""
    counter_max_units: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 50
    """Most that a payer may enter at a counter's sticker, in whole units of the currency; 0: nothing."""


class RiskSettings(Section, frozen=True):
    """What makes the gateway ask the holder, beyond limits (docs/operations.md)."""

    payments_per_window_max: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 20
    """Payments of one instrument within ten minutes that pass unasked; 0: any number."""
    floor_units: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 100
    """Up to so many whole units of the currency, the two rules below don't ask."""
    new_terminal_hours: Annotated[int, msgspec.Meta(ge=0, le=720)] = 0
    """For how long after its enrolment a till is new; 0: never."""
    unusual_times: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 10
    """How many times the mean of the last thirty days' payments is unusual; 0: nothing is."""


class OfflineSettings(Section, frozen=True):
    """Payments that terminals may accept without a connection, and what the operator risks by it.

    Amounts are whole units of each merchant's or wallet's currency (docs/operations.md, docs/adr/0008).
    """

    enabled: bool = False
    """Whether credentials are issued and terminals may accept; what was accepted is settled either way."""
    allowance_units_max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 50
    """Most that one credential sets aside."""
    floor_units: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 15
    """Most of one payment."""
    device_total_units: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 25
    """Most of one device's payments that wait at one terminal."""
    stored_sum_units: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 500
    """Most of all payments that wait at one terminal."""
    stored_count: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 200
    list_age_ms: Annotated[int, msgspec.Meta(ge=60_000, le=31 * 86_400_000)] = 86_400_000
    """Oldest list of suspended credentials that a terminal may go by."""
    list_refresh_ms: Annotated[int, msgspec.Meta(ge=1_000, le=86_400_000)] = 900_000
    """How often an unchanged list is issued anew; well below `list_age_ms`."""
    clock_age_ms: Annotated[int, msgspec.Meta(ge=60_000, le=31 * 86_400_000)] = 86_400_000
    """Longest time since a terminal's clock was confirmed."""
    record_age_ms: Annotated[int, msgspec.Meta(ge=3_600_000, le=31 * 86_400_000)] = 7 * 86_400_000
    """Oldest record that is still settled, and how much longer than a credential its money is set aside."""
    credential_life_ms: Annotated[int, msgspec.Meta(ge=60_000, le=7 * 86_400_000)] = 7 * 86_400_000
    issuer_key_number: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    """Raised by one to change the issuer's key; credentials of the one before it are still believed."""


class CardSettings(Section, frozen=True):
    """Cards that are made here (docs/operations.md)."""

    link_base: Annotated[str, msgspec.Meta(min_length=10, max_length=64)] = "https://pay.example.com/t"
    """What the link on a card begins with, for whoever holds it to a phone of their own."""


class LoggingSettings(Section, frozen=True):
    """Where log lines go is standard error; this is how they look."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class GatewayConfig(Section, frozen=True):
    """The whole file; every key has a default."""

    listen: ListenSettings = ListenSettings()
    storage: StorageSettings = StorageSettings()
    limits: LimitSettings = LimitSettings()
    processes: ProcessSettings = ProcessSettings()
    clock: ClockSettings = ClockSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    codes: CodeSettings = CodeSettings()
    risk: RiskSettings = RiskSettings()
    offline: OfflineSettings = OfflineSettings()
    cards: CardSettings = CardSettings()
    logging: LoggingSettings = LoggingSettings()

    @property
    def database_url(self) -> str | None:
        """The PostgreSQL database; None where it is a SQLite file."""
        return self.storage.database if is_database_url(self.storage.database) else None

    @property
    def database_path(self) -> Path:
        """The SQLite file, which nobody may ask for where there is a URL."""
        assert self.database_url is None, "a URL is no path"
        return Path(self.storage.database)

    @property
    def vault_key_path(self) -> Path:
        """The vault key file."""
        return Path(self.storage.vault_key_file)


def load_config(path: Path, env: Mapping[str, str] = NO_ENVIRONMENT) -> GatewayConfig:
    """Read and check a configuration file; its relative paths become absolute.

    Args:
        env: the process's environment, where TAPSCAN_DATABASE_URL is looked for.

    Raises:
        ConfigurationError: unreadable, no TOML, an unknown key, a value out of its range; says which.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise ConfigurationError(f"{path} is longer than {CONFIG_BYTES_MAX} bytes")
    config = parse_config(raw, source=str(path))
    folder = path.absolute().parent
    storage = StorageSettings(
        database=_place_database(config.storage.database, folder, env),
        vault_key_file=str(folder / config.storage.vault_key_file),
    )
    return msgspec.structs.replace(config, storage=storage)


def parse_config(raw: bytes, *, source: str) -> GatewayConfig:
    """Read TOML bytes as a configuration; `source` names them in errors.

    Raises:
        ConfigurationError: as `load_config`.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} is not TOML: {error}") from None
    try:
        config = msgspec.convert(tables, GatewayConfig)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    try:
        make_link_file(config.cards.link_base)
    except WireError:
        raise ConfigurationError(
            f"{source}: cards.link_base must be https://HOST/PATH, short and without a query"
        ) from None
    if config.listen.public_url is not None:
        _check_public_url(config.listen.public_url, source)
    return config


def _place_database(database: str, folder: Path, env: Mapping[str, str]) -> str:
    url = env.get(URL_VARIABLE)
    if url:
        if not is_database_url(url):
            raise ConfigurationError(f"{URL_VARIABLE} is no postgresql:// URL")
        return url
    return database if is_database_url(database) else str(folder / database)


def _check_public_url(url: str, source: str) -> None:
    # Terminals sign this text followed by the path: a trailing slash would double the one of the path.
    try:
        parts = urlsplit(url)
        spelled = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        spelled = False
    if not spelled or not url.isascii() or url.endswith("/") or "?" in url or "#" in url:
        raise ConfigurationError(
            f"{source}: listen.public_url must be http(s)://HOST[:PORT][/PATH] without a final slash"
        )
