"""terminal.toml: what one till's daemon is told; an unknown key is an error that names it."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from terminal.errors import ConfigurationError

CONFIG_BYTES_MAX: Final = 64 * 1024
DEVICES_MAX: Final = 16
ACCESS_KEY_CHARS_MIN: Final = 16

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
TimeoutMs = Annotated[int, msgspec.Meta(ge=50, le=120_000)]
DelayMs = Annotated[int, msgspec.Meta(ge=1, le=3_600_000)]
DevicePath = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every table of the file: immutable, unknown keys refused."""


class GatewaySettings(Section, frozen=True):
    """How the gateway is reached."""

    url: str | None = None
    """Where the gateway is, if not where this terminal was enrolled."""
    plain_http_allowed: bool = False
    """Allow http:// to another machine; without it only https, or http on loopback, is accepted."""
    connect_timeout_ms: TimeoutMs = 3_000
    try_timeout_ms: TimeoutMs = 5_000
    """How long one send of an attempt may take; the attempt itself has `sale.answer_deadline_ms`."""
    retry_delay_ms: DelayMs = 200
    """Delay before the second send of the same attempt; doubled from there on."""
    retry_delay_ms_max: DelayMs = 3_000
    event_poll_ms: DelayMs = 2_000
    """Between two questions for news where the gateway's events can't be listened to."""
    event_poll_ms_max: DelayMs = 60_000
    """Longest pause between two questions while nobody answers."""


class TillApiSettings(Section, frozen=True):
    """The HTTP interface for till software, on loopback only."""

    host: str = "127.0.0.1"
    port: Port = 8460
    """0 takes any free port; it is printed when the daemon is ready and kept in the data folder."""
    access_key: Annotated[str, msgspec.Meta(min_length=ACCESS_KEY_CHARS_MIN, max_length=256)] | None = None
    """If set, every request must carry `Authorization: Bearer <access_key>`."""


class TillPageSettings(Section, frozen=True):
    """The till's own pages. They are on the till API's address; here they are on the network too."""

    catalogue: str | None = None
    """Quick items, as terminal/till_page/catalogue.py reads them."""
    host: str | None = None
    """Address to listen at for tablets and customers' displays; None: this machine only."""
    port: Port = 8461
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.-]{1,253}$")] | None = None
    """What tablets call this till; needed where host is a wildcard, and by a certificate."""
    certificate: str | None = None
    """PEM file with the certificate and its chain; with it the pages are served by https only."""
    private_key: str | None = None
    plain_http_allowed: bool = False
    """Serve without a certificate: whoever is in the network can read along and take a cashier's place."""


class SaleSettings(Section, frozen=True):
    """How long a sale takes at most."""

    deadline_ms: Annotated[int, msgspec.Meta(ge=1_000, le=600_000)] = 120_000
    """How long readers stay armed, where the till does not say."""
    answer_deadline_ms: TimeoutMs = 20_000
    """After this long without an answer the outcome is called unknown."""


class ResolverSettings(Section, frozen=True):
    """How often an attempt with an unknown outcome is asked about."""

    retry_delay_ms: DelayMs = 2_000
    retry_delay_ms_max: DelayMs = 300_000


class CodeSettings(Section, frozen=True):
    """The till's own code, which wallets scan and pay."""

    enabled: bool = False
    """Off by default: a till needs a screen for its customers to show one."""


class UnknownSettings(Section, frozen=True):
    """What becomes of an attempt whose outcome is not known (docs/adr/0007, decision 7)."""

    resend_ms: DelayMs = 45_000
    """How long after the attempt one that the gateway has never seen is sent again."""
    reverse_after_ms: DelayMs = 180_000
    """How long after the cashier was told "unknown" the attempt is taken back, unless told to keep it."""


class OfflineSettings(Section, frozen=True):
    """Payments while the gateway does not answer; how far, the gateway's own rules say (docs/adr/0008)."""

    enabled: bool = False
    """Off by default: what is accepted against the rules is the merchant's loss, so somebody decides."""
    bad_exchanges_to_leave: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """So many exchanges without an answer in time, one after another, and the till judges for itself."""
    good_exchanges_to_return: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """So many good ones, one after another, and it asks the gateway again."""
    slow_ms: TimeoutMs = 4_000
    """An answer that takes longer is no answer in time."""
    probe_interval_ms: DelayMs = 5_000
    """How often the gateway is asked whether it is back while it is not."""
    sync_interval_ms: DelayMs = 900_000
    """How often keys, rules and the list of suspended credentials are fetched while it is."""
    upload_retry_delay_ms: DelayMs = 1_000
    """After an upload that failed; doubled from there on."""
    upload_retry_delay_ms_max: DelayMs = 300_000


class PrinterSettings(Section, frozen=True):
    """The receipt printer; leave the table out where there is none."""

    device: DevicePath
    """As terminal/receipts/printer.py knows it: /dev/usb/lp0, `serial:…` or `tcp:HOST:PORT`."""


class StaffSettings(Section, frozen=True):
    """The people at this till's screens."""

    idle_ms: Annotated[int, msgspec.Meta(ge=10_000, le=86_400_000)] = 900_000
    """Who does nothing at the till for so long is signed out."""


class LoggingSettings(Section, frozen=True):
    """Where the daemon's log lines go is standard error; this is how they look."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class TerminalConfig(Section, frozen=True):
    """The whole file."""

    data_folder: str
    """Key, identity, journal and lock; relative paths start at the configuration file's folder."""
    devices: Annotated[list[DevicePath], msgspec.Meta(max_length=DEVICES_MAX)] = []
    """Paths of readers and scanners, as terminal/devices/paths.py knows them."""
    language: Literal["en", "zh-Hans"] = "en"
    """Of receipts and of what the command line prints."""
    gateway: GatewaySettings = GatewaySettings()
    till_api: TillApiSettings = TillApiSettings()
    till_page: TillPageSettings = TillPageSettings()
    sale: SaleSettings = SaleSettings()
    resolver: ResolverSettings = ResolverSettings()
    codes: CodeSettings = CodeSettings()
    unknown: UnknownSettings = UnknownSettings()
    offline: OfflineSettings = OfflineSettings()
    printer: PrinterSettings | None = None
    staff: StaffSettings = StaffSettings()
    logging: LoggingSettings = LoggingSettings()

    @property
    def data_path(self) -> Path:
        """The data folder as a path."""
        return Path(self.data_folder)


def load_config(path: Path) -> TerminalConfig:
    """Read and check a configuration file.

    Raises:
        ConfigurationError: unreadable, no TOML, an unknown key, a value out of its range; says which.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise ConfigurationError(f"{path} is longer than {CONFIG_BYTES_MAX} bytes")
    return _at_home(parse_config(raw, source=str(path)), path.absolute().parent)


def parse_config(raw: bytes, *, source: str) -> TerminalConfig:
    """Read TOML bytes as a configuration; `source` names them in errors.

    Raises:
        ConfigurationError: as `load_config`.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} is not TOML: {error}") from None
    try:
        config = msgspec.convert(tables, TerminalConfig)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
    _check_loopback(config.till_api.host, source)
    _check_page(config.till_page, source)
    if config.gateway.url is not None:
        check_gateway_url(config.gateway.url, plain_http_allowed=config.gateway.plain_http_allowed)
    return config


def check_gateway_url(url: str, *, plain_http_allowed: bool) -> str:
    """Return the gateway's base address without a trailing slash.

    Tokens travel to this address, so plain http is for loopback unless it is allowed outright.

    Raises:
        ConfigurationError: not an http(s) address, or plain http to another machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ConfigurationError("gateway.url is not an http(s) address")
    if parts.scheme == "http" and not (plain_http_allowed or is_loopback(parts.hostname)):
        raise ConfigurationError("gateway.url: plain http is for loopback only; use https")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this very machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_loopback(host: str, source: str) -> None:
    if not is_loopback(host):
        raise ConfigurationError(f"{source}: till_api.host must be a loopback address")


def _check_page(page: TillPageSettings, source: str) -> None:
    if (page.certificate is None) is not (page.private_key is None):
        raise ConfigurationError(f"{source}: till_page.certificate and till_page.private_key belong together")
    if page.host is None:
        return
    if page.certificate is None and not (page.plain_http_allowed or is_loopback(page.host)):
        raise ConfigurationError(
            f"{source}: till_page.host is no loopback address: give a certificate, or set plain_http_allowed"
        )
    if page.name is None and page.host in ("0.0.0.0", "::"):  # noqa: S104 -- to refuse it
        raise ConfigurationError(f"{source}: till_page.name: say what tablets call this till")


def _at_home(config: TerminalConfig, folder: Path) -> TerminalConfig:
    """Return the configuration with its relative paths seen from the file's folder."""

    def place(path: str | None) -> str | None:
        return None if path is None else str(folder / path)

    page = config.till_page
    return msgspec.structs.replace(
        config,
        data_folder=str(folder / config.data_folder),
        till_page=msgspec.structs.replace(
            page,
            catalogue=place(page.catalogue),
            certificate=place(page.certificate),
            private_key=place(page.private_key),
        ),
    )
