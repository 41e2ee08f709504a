"""Signed requests: our fixed profile against a general library, the RFC's vectors, and hostile text."""

from __future__ import annotations

import base64
import json
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    algorithms,
)
from hypothesis import given
from hypothesis import strategies as st

from wire import es256
from wire.errors import SignatureError
from wire.http_signatures import (
    CREATED_WINDOW_MS,
    SignatureTag,
    SignedRequest,
    dump_content_digest,
    parse_signed_request,
    sign_request,
    sign_session_request,
    verify_session_request,
    verify_signed_request,
)
from wire.ids import make_ulid
from wire.request_sessions import RequestSession

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "http_message_signatures_rfc9421.json"
KEY = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
NOW_S = 1_767_225_600
ATTEMPT_ID = make_ulid(NOW_S * 1000, bytes(10))
TARGET_URI = "https://pay.example.com/v1/payments"
NONCE = "bm9uY2Utbm9uY2Utbm9uY2U"
BODY = b'{"amount_minor":1250}'
WITH_BODY = ("@method", "@target-uri", "content-digest", "content-type", "idempotency-key")
WITHOUT_BODY = ("@method", "@target-uri")
COVERED = (WITH_BODY, WITHOUT_BODY)


@dataclass
class Message:
    """A request as the library wants one, and as we are handed one."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""


class OneKey(HTTPSignatureKeyResolver):
    """Answers every key id with the test's key."""

    def resolve_private_key(self, key_id: str) -> ec.EllipticCurvePrivateKey:
        return KEY

    def resolve_public_key(self, key_id: str) -> ec.EllipticCurvePublicKey:
        return KEY.public_key()


def sign(body: bytes = BODY, **changes: Any) -> Message:
    arguments = {
        "method": "POST" if body else "GET",
        "target_uri": TARGET_URI,
        "private_key": KEY,
        "created_s": NOW_S,
        "nonce": NONCE,
        "tag": SignatureTag.TERMINAL,
        "body": body,
        "idempotency_key": ATTEMPT_ID if body else None,
    }
    arguments |= changes
    headers = sign_request(**arguments)
    return Message(arguments["method"], arguments["target_uri"], headers, body)


def parse(message: Message, tag: SignatureTag = SignatureTag.TERMINAL) -> SignedRequest:
    return parse_signed_request(
        method=message.method,
        target_uri=message.url,
        headers=message.headers.items(),
        body=message.body,
        tags={tag},
    )


def verify(message: Message, now_ms: int = NOW_S * 1000) -> SignedRequest:
    signed = parse(message)
    verify_signed_request(signed, KEY.public_key(), now_ms=now_ms)
    return signed


def refusal_of(message: Message, now_ms: int = NOW_S * 1000) -> str:
    with pytest.raises(SignatureError) as caught:
        verify(message, now_ms)
    return caught.value.code


class TestRoundTrip:
    @pytest.mark.parametrize("body", [BODY, b""])
    def test_verifies_what_we_signed(self, body: bytes) -> None:
        signed = verify(sign(body))
        assert signed.key_id == es256.key_id_of(KEY.public_key())
        assert (signed.created_s, signed.nonce) == (NOW_S, NONCE)
        assert signed.idempotency_key == (ATTEMPT_ID if body else None)

    @given(st.binary(max_size=200), st.from_regex(r"/[a-z0-9/?=&%._~-]{0,60}", fullmatch=True))
    def test_verifies_for_any_body_and_path(self, body: bytes, path: str) -> None:
        verify(sign(body, target_uri=f"https://pay.example.com{path}"))

    def test_header_names_are_read_in_any_case(self) -> None:
        message = sign()
        message.headers = {name.upper(): value for name, value in message.headers.items()}
        verify(message)

    def test_other_headers_are_ignored(self) -> None:
        message = sign()
        message.headers |= {"User-Agent": "x", "Date": "whenever", "X-Signature": "sig1=::"}
        verify(message)

    def test_a_seeded_simulation_repeats_byte_for_byte(self) -> None:
        assert sign().headers == sign().headers


class TestFreshness:
    @pytest.mark.parametrize("sign_of", [-1, 1])
    def test_the_edge_of_the_window_passes_and_a_millisecond_more_does_not(self, sign_of: int) -> None:
        edge = NOW_S * 1000 + sign_of * CREATED_WINDOW_MS
        verify(sign(), edge)
        assert refusal_of(sign(), edge + sign_of) == "signature_expired"

    @pytest.mark.parametrize("created_s", [-1, 10**12])
    def test_an_impossible_time_is_not_signed(self, created_s: int) -> None:
        with pytest.raises(SignatureError):
            sign(created_s=created_s)


class TestRefusals:
    @pytest.mark.parametrize(
        ("field", "code"),
        [
            ("Signature-Input", "signature_missing"),
            ("Signature", "signature_missing"),
            ("Content-Digest", "signature_missing"),
            ("Content-Type", "signature_missing"),
            ("Idempotency-Key", "signature_missing"),
        ],
    )
    def test_a_missing_field_is_named_as_missing(self, field: str, code: str) -> None:
        message = sign()
        del message.headers[field]
        assert refusal_of(message) == code

    @pytest.mark.parametrize("field", ["Signature-Input", "Signature", "Content-Digest", "Idempotency-Key"])
    def test_a_signed_field_that_comes_twice_is_refused_even_if_equal(self, field: str) -> None:
        message = sign()
        lines = [*message.headers.items(), (field.lower(), message.headers[field])]
        with pytest.raises(SignatureError) as caught:
            parse_signed_request(
                method="POST",
                target_uri=message.url,
                headers=lines,
                body=BODY,
                tags={SignatureTag.TERMINAL},
            )
        assert caught.value.code == "signature_invalid"

    def test_a_device_is_never_taken_for_a_terminal(self) -> None:
        message = sign(tag=SignatureTag.DEVICE)
        assert refusal_of(message) == "signature_invalid"
        parse(message, SignatureTag.DEVICE)

    def test_another_body_is_a_digest_mismatch(self) -> None:
        assert refusal_of(replace(sign(), body=BODY + b" ")) == "digest_mismatch"

    def test_a_body_may_not_be_added_to_a_request_signed_without_one(self) -> None:
        message = sign(b"")
        message.headers |= {k: v for k, v in sign().headers.items() if not k.startswith("Signature")}
        assert refusal_of(replace(message, body=BODY)) == "signature_invalid"

    def test_a_signature_that_does_not_say_it_covers_the_body_is_refused(self) -> None:
        # A faulty signer: the body's fields are in what it signed, but its list of components leaves
        # them out. Whoever reads only the list would think the body unsigned.
        message = sign()
        full, short = (f"({' '.join(f'{chr(34)}{name}{chr(34)}' for name in names)})" for names in COVERED)
        fields = message.headers
        fields["Signature-Input"] = fields["Signature-Input"].replace(full, short)
        base = parse(sign()).signature_base.replace(full.encode(), short.encode())
        signature = base64.b64encode(es256.sign(KEY, base)).decode()
        fields["Signature"] = f"sig1=:{signature}:"
        assert refusal_of(message) == "signature_invalid"

    def test_a_body_may_not_be_taken_away(self) -> None:
        assert refusal_of(replace(sign(), body=b"")) == "signature_invalid"

    def test_another_key_does_not_verify(self) -> None:
        other = ec.derive_private_key(0xBEEF, ec.SECP256R1()).public_key()
        with pytest.raises(SignatureError) as caught:
            verify_signed_request(parse(sign()), other, now_ms=NOW_S * 1000)
        assert caught.value.code == "signature_invalid"

    def test_a_second_spelling_of_the_same_signature_bytes_is_refused(self) -> None:
        message = sign()
        text = message.headers["Signature"]
        last = text[-4]
        twin = chr(ord(last) + 1)
        assert base64.b64decode(text[6:-1]) == base64.b64decode(text[6:-4] + twin + "==")
        message.headers["Signature"] = text[:-4] + twin + text[-3:]
        assert refusal_of(message) == "signature_invalid"

    def test_the_error_repeats_nothing_of_the_request(self) -> None:
        message = sign()
        message.headers["Signature"] = "sig1=:secret-looking:"
        with pytest.raises(SignatureError) as caught:
            parse(message)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("nonce", ["short", "x" * 65, "with space in the nonce", 'quote"quote"quote"'])
    def test_an_unfit_nonce_is_not_signed(self, nonce: str) -> None:
        with pytest.raises(SignatureError):
            sign(nonce=nonce)

    def test_a_body_without_an_id_is_not_signed(self) -> None:
        with pytest.raises(SignatureError):
            sign(idempotency_key=None)


def _with_other_byte(text: str, index: int, replacement: int) -> str:
    position = index % len(text)
    changed = chr(replacement) if chr(replacement) != text[position] else chr(replacement ^ 1)
    return text[:position] + changed + text[position + 1 :]


class TestTampering:
    """Any single character changed, anywhere that is signed, is refused."""

    @given(st.sampled_from(list(sign().headers)), st.integers(0, 500), st.integers(0, 127))
    def test_in_a_header_is_refused(self, field: str, index: int, replacement: int) -> None:
        message = sign()
        message.headers[field] = _with_other_byte(message.headers[field], index, replacement)
        refusal_of(message)

    @given(st.integers(0, 500), st.integers(1, 255))
    def test_in_the_body_is_refused(self, index: int, flip: int) -> None:
        body = bytearray(BODY)
        body[index % len(body)] ^= flip
        assert refusal_of(replace(sign(), body=bytes(body))) == "digest_mismatch"

    @given(st.integers(0, 500), st.integers(0, 127))
    def test_in_the_address_is_refused(self, index: int, replacement: int) -> None:
        refusal_of(replace(sign(), url=_with_other_byte(TARGET_URI, index, replacement)))

    @given(st.integers(0, 3), st.integers(0, 127))
    def test_in_the_method_is_refused(self, index: int, replacement: int) -> None:
        refusal_of(replace(sign(), method=_with_other_byte("POST", index, replacement)))

    @pytest.mark.parametrize(
        ("part", "changed"),
        [
            (f"created={NOW_S}", f"created={NOW_S + 1}"),
            (NONCE, NONCE[:-1] + "V"),
            (es256.key_id_of(KEY.public_key()).hex(), "0011223344556677"),
            (SignatureTag.TERMINAL, SignatureTag.DEVICE),
        ],
    )
    def test_in_a_parameter_that_stays_well_formed_breaks_the_signature(
        self, part: str, changed: str
    ) -> None:
        message = sign()
        message.headers["Signature-Input"] = message.headers["Signature-Input"].replace(part, changed)
        assert refusal_of(message) == "signature_invalid"

    def test_of_the_idempotency_key_that_stays_a_ulid_breaks_the_signature(self) -> None:
        message = sign()
        message.headers["Idempotency-Key"] = make_ulid(NOW_S * 1000, bytes(9) + b"\x01")
        assert refusal_of(message) == "signature_invalid"


class TestHostileText:
    @given(
        st.dictionaries(
            st.sampled_from(
                ["signature-input", "Signature", "Content-Digest", "content-type", "idempotency-key", "x"]
            ),
            st.text(max_size=300),
        ),
        st.text(max_size=20),
        st.text(max_size=100),
        st.binary(max_size=50),
    )
    def test_any_headers_give_a_value_or_a_signature_error(
        self, headers: dict[str, str], method: str, target_uri: str, body: bytes
    ) -> None:
        message = Message(method, target_uri, headers, body)
        try:
            parse(message)
        except SignatureError:
            return

    @given(st.sampled_from(list(sign().headers)), st.text(max_size=300))
    def test_any_text_in_one_field_of_a_good_request_is_refused_or_changes_nothing(
        self, field: str, text: str
    ) -> None:
        message = sign()
        if text == message.headers[field]:
            return
        message.headers[field] = text
        refusal_of(message)


def _library_verify(message: Message, components: tuple[str, ...]) -> dict[str, Any]:
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ECDSA_P256_SHA256, key_resolver=OneKey())
    result = verifier.verify(
        message,
        max_age=timedelta(days=365_000),
        expect_tag="tapscan-terminal",
        require_components=components,
        **({"body": message.body} if message.body else {}),
    )
    return dict(result[0].parameters)


def _library_sign(body: bytes, url: str = TARGET_URI, **changes: Any) -> Message:
    headers = {"Content-Type": "application/json", "Idempotency-Key": ATTEMPT_ID} if body else {}
    message = Message("POST" if body else "GET", url, headers, body)
    arguments: dict[str, Any] = {
        "key_id": es256.key_id_of(KEY.public_key()).hex(),
        "created": datetime.fromtimestamp(NOW_S, UTC),
        "nonce": NONCE,
        "label": "sig1",
        "tag": "tapscan-terminal",
        "include_alg": False,
        "covered_component_ids": WITH_BODY if body else WITHOUT_BODY,
    }
    if body:
        arguments["body"] = body
    HTTPMessageSigner(signature_algorithm=algorithms.ECDSA_P256_SHA256, key_resolver=OneKey()).sign(
        message, **(arguments | changes)
    )
    return message


class TestAgainstTheLibrary:
    """http-message-signatures is a general implementation by others of the same two documents."""

    @pytest.mark.parametrize(("body", "components"), [(BODY, WITH_BODY), (b"", WITHOUT_BODY)])
    def test_the_library_verifies_what_we_sign(self, body: bytes, components: tuple[str, ...]) -> None:
        parameters = _library_verify(sign(body), components)
        assert list(parameters) == ["created", "keyid", "nonce", "tag"]
        assert parameters["nonce"] == NONCE

    @given(st.binary(max_size=300), st.from_regex(r"/[a-z0-9/?=&._~-]{0,40}", fullmatch=True))
    def test_we_verify_what_the_library_signs(self, body: bytes, path: str) -> None:
        url = f"https://pay.example.com{path}"
        assert verify(_library_sign(body, url)).nonce == NONCE

    def test_both_make_the_same_base(self) -> None:
        ours, theirs = parse(sign()), parse(_library_sign(BODY))
        assert ours.signature_base == theirs.signature_base

    @pytest.mark.parametrize(
        "changes",
        [
            {"include_alg": True},
            {"label": "sig2"},
            {"nonce": None},
            {"tag": None},
            {"expires": datetime.fromtimestamp(NOW_S + 60, UTC)},
            {"covered_component_ids": ("@method", "@target-uri", "content-digest")},
            {"covered_component_ids": ("@target-uri", "@method", *WITH_BODY[2:])},
            {"covered_component_ids": (*WITH_BODY, "@authority")},
        ],
        ids=str,
    )
    def test_what_is_valid_but_outside_the_profile_is_refused(self, changes: dict[str, Any]) -> None:
        assert refusal_of(_library_sign(BODY, **changes)) == "signature_invalid"

    @given(st.sampled_from(["Signature-Input", "Signature", "Content-Digest"]), st.data())
    def test_we_never_accept_what_the_library_refuses(self, field: str, data: st.DataObject) -> None:
        message = sign()
        text = message.headers[field]
        index = data.draw(st.integers(0, len(text) - 1))
        message.headers[field] = _with_other_byte(text, index, data.draw(st.integers(32, 126)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                _library_verify(message, WITH_BODY)
            except InvalidSignature:
                refusal_of(message)


class TestSessions:
    """The same profile under a session's key: HMAC-SHA-256."""

    SESSION = RequestSession(bytes(range(100, 162)), b"k" * 32)

    def signed(self, body: bytes = BODY) -> Message:
        headers = sign_session_request(
            method="POST" if body else "GET",
            target_uri=TARGET_URI,
            session=self.SESSION,
            created_s=NOW_S,
            nonce=NONCE,
            body=body,
            idempotency_key=ATTEMPT_ID if body else None,
        )
        return Message("POST" if body else "GET", TARGET_URI, headers, body)

    def verify(self, message: Message, now_ms: int = NOW_S * 1000, key: bytes = SESSION.key) -> SignedRequest:
        signed = parse(message, SignatureTag.SESSION)
        verify_session_request(signed, key, now_ms=now_ms)
        return signed

    def library(self) -> dict[str, Any]:
        class SessionKey(HTTPSignatureKeyResolver):
            def resolve_private_key(self, key_id: str) -> bytes:
                return TestSessions.SESSION.key

            resolve_public_key = resolve_private_key

        return {"signature_algorithm": algorithms.HMAC_SHA256, "key_resolver": SessionKey()}

    @pytest.mark.parametrize("body", [BODY, b""])
    def test_verifies_what_was_signed_and_says_which_session(self, body: bytes) -> None:
        signed = self.verify(self.signed(body))
        assert signed.is_in_session
        assert (signed.key_id, signed.nonce) == (self.SESSION.session_id, NONCE)
        assert signed.idempotency_key == (ATTEMPT_ID if body else None)

    @pytest.mark.parametrize(("body", "components"), [(BODY, WITH_BODY), (b"", WITHOUT_BODY)])
    def test_the_library_verifies_what_we_sign(self, body: bytes, components: tuple[str, ...]) -> None:
        message = self.signed(body)
        HTTPMessageVerifier(**self.library()).verify(
            message,
            max_age=timedelta(days=365_000),
            expect_tag="tapscan-session",
            require_components=components,
            **({"body": body} if body else {}),
        )

    def test_we_verify_what_the_library_signs(self) -> None:
        message = self.signed()
        for field in ("Signature", "Signature-Input", "Content-Digest"):
            del message.headers[field]
        HTTPMessageSigner(**self.library()).sign(
            message,
            key_id=base64.urlsafe_b64encode(self.SESSION.session_id).decode().rstrip("="),
            created=datetime.fromtimestamp(NOW_S, UTC),
            nonce=NONCE,
            label="sig1",
            tag="tapscan-session",
            include_alg=False,
            covered_component_ids=WITH_BODY,
            body=BODY,
        )
        assert self.verify(message).nonce == NONCE

    def test_another_key_or_another_time_is_refused(self) -> None:
        with pytest.raises(SignatureError) as caught:
            self.verify(self.signed(), key=b"j" * 32)
        assert caught.value.code == "signature_invalid"
        with pytest.raises(SignatureError) as caught:
            self.verify(self.signed(), now_ms=NOW_S * 1000 + CREATED_WINDOW_MS + 1)
        assert caught.value.code == "signature_expired"

    @pytest.mark.parametrize(
        ("field", "old", "new"),
        [
            ("Signature-Input", "tapscan-session", "tapscan-terminal"),
            ("Signature-Input", "tapscan-session", "tapscan-device"),
            ("Signature-Input", "tapscan-session", "tapscan-anything"),
        ],
    )
    def test_no_tag_is_taken_for_another(self, field: str, old: str, new: str) -> None:
        message = self.signed()
        message.headers[field] = message.headers[field].replace(old, new)
        for tag in SignatureTag:
            with pytest.raises(SignatureError) as caught:
                parse(message, tag)
            assert caught.value.code == "signature_invalid"

    def test_a_key_of_its_own_does_not_sign_as_a_session(self) -> None:
        message = sign()
        message.headers["Signature-Input"] = message.headers["Signature-Input"].replace(
            "tapscan-terminal", "tapscan-session"
        )
        with pytest.raises(SignatureError):
            parse(message, SignatureTag.SESSION)

    @given(st.sampled_from(["Signature-Input", "Signature", "Content-Digest"]), st.data())
    def test_every_other_byte_of_a_signed_field_is_refused(self, field: str, data: st.DataObject) -> None:
        message = self.signed()
        text = message.headers[field]
        index = data.draw(st.integers(0, len(text) - 1))
        message.headers[field] = _with_other_byte(text, index, data.draw(st.integers(32, 126)))
        with pytest.raises(SignatureError):
            # A byte of the session's id names another session; this one's key does not sign for it.
            self.verify(message)


class TestVectorsOfTheRfc:
    """RFC 9421 appendix B; which of its cases the fixed profile refuses, and that it does."""

    # Appendix B.1.3 (key) and B.2.4 (the one ECDSA P-256 case, over a response). See vectors/SOURCES.md.
    B24_KEY = ec.EllipticCurvePublicNumbers(
        int.from_bytes(base64.urlsafe_b64decode("qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA="), "big"),
        int.from_bytes(base64.urlsafe_b64decode("Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0="), "big"),
        ec.SECP256R1(),
    ).public_key()
    B24_BASE = (
        b'"@status": 200\n'
        b'"content-type": application/json\n'
        b'"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymy'
        b"U0rjJuahq4l5aGgfLQ==:\n"
        b'"content-length": 23\n'
        b'"@signature-params": ("@status" "content-type" "content-digest" "content-length")'
        b';created=1618884473;keyid="test-key-ecc-p256"'
    )
    B24_SIGNATURE = base64.b64decode(
        "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw=="
    )

    def signed(self, base: bytes) -> SignedRequest:
        return SignedRequest(
            SignatureTag.TERMINAL, bytes(8), 1_618_884_473, NONCE, None, self.B24_SIGNATURE, base
        )

    def test_the_ecdsa_case_verifies_over_its_published_base(self) -> None:
        verify_signed_request(self.signed(self.B24_BASE), self.B24_KEY, now_ms=1_618_884_473_000)

    def test_the_ecdsa_case_is_refused_over_another_base(self) -> None:
        with pytest.raises(SignatureError):
            verify_signed_request(
                self.signed(self.B24_BASE.replace(b"200", b"201")), self.B24_KEY, now_ms=1_618_884_473_000
            )

    def test_the_key_of_the_file_is_the_key_of_the_case(self) -> None:
        key = _read_vectors()["keys"]["test-key-ecc-p256"]
        numbers = self.B24_KEY.public_numbers()
        assert int.from_bytes(base64.urlsafe_b64decode(key["x"] + "="), "big") == numbers.x
        assert int.from_bytes(base64.urlsafe_b64decode(key["y"] + "="), "big") == numbers.y

    def test_every_case_of_the_file_is_outside_the_profile_and_refused(self) -> None:
        # None of them is ES256: two are RSA-PSS, one is HMAC. They also carry other labels, other covered
        # components, no tag and key ids that are words; any one of these would be enough.
        vectors = _read_vectors()
        head, body = vectors["test_request"].split("\n\n", 1)
        fields = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        assert len(vectors["cases"]) == 3
        for case in vectors["cases"]:
            signature_fields = dict(line.split(": ", 1) for line in case["headers"].splitlines())
            message = Message("POST", "https://example.com/foo", fields | signature_fields, body.encode())
            with pytest.raises(SignatureError) as caught:
                parse(message)
            assert caught.value.code == "signature_invalid", case["title"]


def test_the_digest_is_that_of_rfc_9530() -> None:
    # RFC 9530 appendix B.1: the sha-256 of this very body.
    assert (
        dump_content_digest(b'{"hello": "world"}\n')
        == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    )


def _read_vectors() -> dict[str, Any]:
    if not VECTORS.exists():
        pytest.skip(f"the RFC's vectors are not beside this checkout ({VECTORS.name})")
    vectors: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return vectors
