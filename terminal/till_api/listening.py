"""Where the till listens: on loopback for till software and pages, and on its network for pages if told."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from terminal.config import TerminalConfig, TillPageSettings
from terminal.errors import ConfigurationError
from terminal.till_api.guards import Entrance
from terminal.till_api.routes import TillApi, make_till_app
from terminal.till_page.routes import PageApi

HTTP_STOP_GRACE_S: Final = 2.0
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


async def listen(config: TerminalConfig, api: TillApi, page: PageApi, stack: AsyncExitStack) -> list[str]:
    """Listen until the stack ends, and return the addresses: the till API's, then the network's if any.

    The page's links lead to these addresses from then on.

    Raises:
        ConfigurationError: an address or a certificate can't be used.
    """
    settings = config.till_api
    entrance = Entrance(
        names=LOOPBACK_NAMES | {bracketed(settings.host).lower()},
        door=page.door,
        access_key=settings.access_key,
    )
    host, port = await _open_site(
        make_till_app(api, page, entrance), "till_api", settings.host, settings.port, stack
    )
    urls = [f"http://{bracketed(host)}:{port}"]
    if config.till_page.host is not None:
        urls.append(await _listen_to_network(config.till_page, config.till_page.host, api, page, stack))
    page.urls = tuple(urls)
    return urls


def bracketed(host: str) -> str:
    """Write an address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


async def _listen_to_network(
    settings: TillPageSettings, host: str, api: TillApi, page: PageApi, stack: AsyncExitStack
) -> str:
    name = settings.name or bracketed(host)
    entrance = Entrance(
        names=frozenset({name.lower()}), door=page.door, lets_programs_in=False, any_address=True
    )
    certificate = _load_certificate(settings)
    app = make_till_app(api, page, entrance)
    _, port = await _open_site(app, "till_page", host, settings.port, stack, certificate)
    return f"{'http' if certificate is None else 'https'}://{name}:{port}"


async def _open_site(
    app: web.Application,
    section: str,
    host: str,
    port: int,
    stack: AsyncExitStack,
    certificate: ssl.SSLContext | None = None,
) -> tuple[str, int]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=HTTP_STOP_GRACE_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, ssl_context=certificate).start()
    except OSError as error:
        raise ConfigurationError(f"{section} can't listen on {host}:{port}: {error.strerror}") from None
    address: tuple[str, int] = runner.addresses[0][:2]
    return address


def _load_certificate(settings: TillPageSettings) -> ssl.SSLContext | None:
    if settings.certificate is None or settings.private_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate, settings.private_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"till_page.certificate can't be used: {error.strerror}") from None
    return context
