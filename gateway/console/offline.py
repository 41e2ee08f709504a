"""`tapscan-gateway offline`: permits of phones, records that contradict, and what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from gateway.console.output import Record, show_table
from gateway.console.session import DEFAULT_CONFIG, AfterOption, ConfigOption, JsonOption, session_of

if TYPE_CHECKING:
    from gateway.offline.model import Credential, OfflineAlarm, SettledRecord

offline_commands = typer.Typer(
    help="Payments that tills accepted without a connection.", no_args_is_help=True
)


@offline_commands.command("credentials")
def list_credentials(
    context: typer.Context,
    after: AfterOption = "",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show phones' permits in the order of their ids, with what is left of each allowance."""
    credentials = session_of(context).run(config, lambda office: office.store.list_credentials(after))
    show_table("credentials", [_credential_record(one) for one in credentials], as_json=as_json)


@offline_commands.command("conflicts")
def list_conflicts(
    context: typer.Context, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show the last alarms, newest first: gaps, broken chains, copied keys, records that contradict."""
    alarms = session_of(context).run(config, lambda office: office.store.list_offline_alarms())
    show_table("conflicts", [_alarm_record(one) for one in alarms], as_json=as_json)


@offline_commands.command("losses")
def list_losses(
    context: typer.Context, config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False
) -> None:
    """Show the last records that left a loss, newest first, with who bears it."""
    losses = session_of(context).run(config, lambda office: office.store.list_offline_losses())
    show_table("losses", [_loss_record(one) for one in losses], as_json=as_json)


def _credential_record(credential: Credential) -> Record:
    return {
        "credential_id": credential.credential_id,
        "instrument_id": credential.instrument_id,
        "state": credential.state.value,
        "currency": credential.currency,
        "allowance_minor": credential.allowance_minor,
        "left_minor": credential.left_minor,
        "per_payment_minor": credential.per_payment_minor,
        "status_index": credential.status_index,
        "expires_ms": credential.expires_ms,
        "ends_ms": credential.ends_ms,
        "listed_ms": credential.listed_ms,
    }


def _alarm_record(alarm: OfflineAlarm) -> Record:
    return {
        "kind": alarm.kind,
        "terminal_id": alarm.terminal_id,
        "sequence": alarm.sequence,
        "payment_id": alarm.payment_id,
        "instrument_id": alarm.instrument_id,
        "at_ms": alarm.at_ms,
    }


def _loss_record(record: SettledRecord) -> Record:
    return {
        "terminal_id": record.terminal_id,
        "sequence": record.sequence,
        "outcome": record.outcome,
        "code": record.code or None,
        "payment_id": record.payment_id,
        "currency": record.currency,
        "amount_minor": record.amount_minor,
        "loss_minor": record.loss_minor,
        "loss_bearer": record.loss_bearer,
        "accepted_ms": record.accepted_ms,
        "received_ms": record.received_ms,
    }
