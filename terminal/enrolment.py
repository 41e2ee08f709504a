"""How a terminal becomes one: its key on disk, its gateway asked, who it is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from terminal.config import TerminalConfig, check_gateway_url
from terminal.data_folder import DaemonLock, prepare_folder
from terminal.disk import FolderDisk
from terminal.errors import ConfigurationError
from terminal.gateway_client.client import GatewayClient
from terminal.identity import Identity, is_enrolled, load_identity, prepare_enrolment_key, store_identity
from terminal.journal.journal import read_journal
from terminal.offline.queue import OfflineQueue
from wire import es256
from wire.messages.enrolment import EnrolmentAnswer, EnrolmentRequest

SOFTWARE: Final = "tapscan-terminal/0.1"

MakeClient = Callable[[str, es256.PrivateKey], GatewayClient]
"""Makes a client of the gateway at an address, for a terminal with this key."""


async def enrol_terminal(
    config: TerminalConfig,
    gateway_url: str | None,
    code: str,
    make_client: MakeClient,
    *,
    idempotency_key: str,
    again: bool,
) -> EnrolmentAnswer:
    """Introduce this terminal to its gateway and store who it is.

    The key is on disk before it is sent: if the answer is lost, call this again with the same code.

    Args:
        gateway_url: by default the configured one.
        again: replace an identity that is already stored.

    Raises:
        ConfigurationError: no gateway address; already enrolled; attempts or offline payments of the old
            identity wait.
        GatewayRefused, GatewayUnreachable: not enrolled (yet).
    """
    url = check_gateway_url(
        gateway_url or config.gateway.url or "",
        plain_http_allowed=config.gateway.plain_http_allowed,
    )
    folder = prepare_folder(config.data_path)
    with DaemonLock(folder):
        _check_may_enrol(folder, again=again)
        key = prepare_enrolment_key(folder, lambda: ec.generate_private_key(ec.SECP256R1()))
        request = EnrolmentRequest(
            code=code, public_key=es256.dump_public_key(key.public_key()), software=SOFTWARE
        )
        async with make_client(url, key) as client:
            answer = await client.enrol(request, idempotency_key=idempotency_key)
        store_identity(folder, Identity(key, url, answer))
    return answer


def _check_may_enrol(folder: Path, *, again: bool) -> None:
    if not is_enrolled(folder):
        return
    if not again:
        raise ConfigurationError("this terminal is already enrolled; --again gives it a new identity")
    identity = load_identity(folder)
    queue = OfflineQueue(FolderDisk(folder), identity.private_key)
    queue.close()
    if queue.depth:
        # They are sealed by the key that would be replaced, and nobody else could hand them in.
        raise ConfigurationError(
            f"{queue.depth} payments accepted offline wait: run the daemon, `tapscan-terminal offline drain`"
        )
    if any(entry.outcome == "unresolved" for entry in read_journal(FolderDisk(folder))):
        # The gateway would not tell a new terminal what became of another one's attempts.
        raise ConfigurationError("attempts of the present identity have no outcome yet: run the daemon first")
