"""Who works at this till now, and what they may do.

The gateway judges who somebody is. While it does not answer, this till lets in by PIN whoever it saw the
gateway let in since it started, and nobody else. Rights bind persons at a screen; till software has the
access key and does as it always did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from terminal.errors import GatewayRefused, GatewayUnreachable, SaleRefused
from terminal.people.gateway import StaffGateway
from terminal.people.offline_pins import OfflinePins
from terminal.people.roster import Roster
from terminal.people.tag_reads import TagReads
from wire.ids import ENTROPY_BYTES, make_ulid
from wire.messages.payments import StaffProof
from wire.messages.staff import (
    SignedInStaff,
    SignInAnswer,
    SignInRequest,
    StaffRight,
    StaffState,
    StaffView,
    StaffWord,
)
from wire.messages.till import DaemonEvent, DaemonEventKind

FORGETTING: Final = frozenset({"staff_not_allowed", "staff_locked"})
"""Refusals after which a till must not go on letting somebody in by itself."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class StaffDesk:
    """Signs people in and out; all methods run in the daemon's event loop."""

    def __init__(
        self,
        gateway: StaffGateway,
        roster: Roster,
        tags: TagReads,
        pins: OfflinePins,
        publish: Callable[[DaemonEvent], object],
        *,
        idle_ms: int,
        now_ms: Callable[[], int],
        entropy: Callable[[int], bytes],
    ) -> None:
        """Begin with nobody signed in.

        Args:
            publish: takes events whose sequence is still 0.
            idle_ms: who does nothing for so long is signed out.
        """
        self._gateway = gateway
        self._roster = roster
        self._tags = tags
        self._pins = pins
        self._publish = publish
        self._idle_ms = idle_ms
        self._now_ms = now_ms
        self._entropy = entropy
        self._signed_in: SignedInStaff | None = None
        self._timer: asyncio.TimerHandle | None = None
        roster.tell_refreshes_to(self._heed_list)

    @property
    def signed_in(self) -> SignedInStaff | None:
        """Who works here now."""
        return self._signed_in

    @property
    def state(self) -> StaffState:
        """Whether somebody has to sign in, and who has."""
        return StaffState(is_required=self._roster.is_required, signed_in=self._signed_in)

    @property
    def view(self) -> StaffView:
        """As `state`, with everybody who may."""
        return StaffView(
            is_required=self._roster.is_required,
            members=self._roster.members or [],
            signed_in=self._signed_in,
        )

    async def sign_in(self, word: StaffWord) -> SignedInStaff:
        """Sign somebody in, in the place of whoever was.

        Raises:
            GatewayRefused: `staff_not_allowed`, `staff_locked`, `staff_tag_invalid` and others.
            SaleRefused: `staff_sign_in_offline`: the gateway does not answer, and this till does not know the
                PIN; `staff_not_allowed`: it knows another one. `not_found`, `tag_read_waiting`: the tag read.
        """
        sign_in_id = make_ulid(self._now_ms(), self._entropy(ENTROPY_BYTES))
        proof = self.prove(word, sign_in_id)
        is_offline = False
        try:
            answer = await self._gateway.sign_in(SignInRequest(sign_in_id=sign_in_id, staff=proof))
        except GatewayRefused as refusal:
            if refusal.retryable:
                answer, is_offline = await self._judge_alone(proof), True
            else:
                if refusal.code in FORGETTING and proof.staff_id is not None:
                    self._pins.forget(proof.staff_id)
                raise
        except GatewayUnreachable:
            answer, is_offline = await self._judge_alone(proof), True
        if not is_offline and proof.pin is not None:
            await self._pins.learn(answer, proof.pin)
        return self._take(answer, is_offline=is_offline)

    def sign_out(self) -> None:
        """Sign out whoever is signed in; may be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        before, self._signed_in = self._signed_in, None
        if before is not None:
            self._tell(DaemonEventKind.STAFF_SIGNED_OUT, before)

    def prove(self, word: StaffWord, purpose_id: str) -> StaffProof:
        """Return what the gateway judges, for what a screen said; a tag is used up by this purpose.

        Raises:
            SaleRefused: `not_found`, `tag_read_waiting`; as TagReads.use.
        """
        if word.tag_read_id is not None:
            return StaffProof(tag=self._tags.use(word.tag_read_id, purpose_id))
        return StaffProof(staff_id=word.staff_id, pin=word.pin)

    def require(self, right: StaffRight) -> None:
        """Return if the person at this till may do what needs this right; it counts as being there.

        Raises:
            SaleRefused: `staff_sign_in_needed`, `staff_right_missing`.
        """
        if not self._roster.is_required:
            return
        if self._signed_in is None:
            raise SaleRefused(code="staff_sign_in_needed")
        if right not in self._signed_in.rights:
            raise SaleRefused(code="staff_right_missing")
        self._note_presence()

    def require_proof(self, word: StaffWord | None) -> None:
        """Return if a person gave a proof where one is asked for; the gateway judges it.

        Raises:
            SaleRefused: `staff_proof_needed`.
        """
        if word is None and self._roster.is_required:
            raise SaleRefused(code="staff_proof_needed")
        self._note_presence()

    def stop(self) -> None:
        """Let go of the readers and the clock; the daemon stops."""
        self._tags.give_back()
        if self._timer is not None:
            self._timer.cancel()

    async def _judge_alone(self, proof: StaffProof) -> SignInAnswer:
        if proof.staff_id is None or proof.pin is None or not self._pins.knows(proof.staff_id):
            raise SaleRefused(code="staff_sign_in_offline")
        answer = await self._pins.judge(proof.staff_id, proof.pin)
        if answer is None:
            raise SaleRefused(code="staff_not_allowed")
        return answer

    def _take(self, answer: SignInAnswer, *, is_offline: bool) -> SignedInStaff:
        before = self._signed_in
        if before is not None and before.staff_id != answer.member.staff_id:
            self.sign_out()
        now_ms = self._now_ms()
        signed_in = self._signed_in = SignedInStaff(
            staff_id=answer.member.staff_id,
            name=answer.member.name,
            role=answer.member.role,
            rights=answer.rights,
            signed_in_ms=now_ms,
            idle_ends_ms=now_ms + self._idle_ms,
            is_offline=is_offline,
        )
        self._restart_timer()
        self._tell(DaemonEventKind.STAFF_SIGNED_IN, signed_in)
        return signed_in

    def _note_presence(self) -> None:
        if self._signed_in is not None:
            idle_ends_ms = self._now_ms() + self._idle_ms
            self._signed_in = msgspec.structs.replace(self._signed_in, idle_ends_ms=idle_ends_ms)
            self._restart_timer()

    def _restart_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._idle_ms / 1000, self.sign_out)

    def _heed_list(self) -> None:
        """Sign out who has left or has another role now, and let nobody such in without the gateway."""
        for member in self._pins.members:
            if not self._roster.agrees(member.staff_id, member.role):
                self._pins.forget(member.staff_id)
        who = self._signed_in
        if who is not None and not self._roster.agrees(who.staff_id, who.role):
            self.sign_out()

    def _tell(self, kind: DaemonEventKind, who: SignedInStaff) -> None:
        log.info("staff", what=kind.value, staff_id=who.staff_id)
        self._publish(DaemonEvent(sequence=0, at_ms=self._now_ms(), kind=kind, staff=who))
