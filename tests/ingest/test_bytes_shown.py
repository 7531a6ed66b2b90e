"""What dead letters show of bytes: no secret, nothing that a terminal would act on."""

from __future__ import annotations

import gzip
import json

import cramjam
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.redaction import SCRUBBED as MARK
from ingest.refused import MAX_BODY_BYTES, excerpts
from ingest.scrub import Scrubber

SECRET = "Tr0ub4dor"


def shown(body: bytes, scrubber: Scrubber | None = None) -> str:
    return excerpts([body], scrubber or Scrubber())[0]


def pair(key: str, value: str) -> bytes:
    """Return a label as Prometheus' and OpenTelemetry's protobuf have it: tag, length, text."""
    name, text = key.encode(), value.encode()
    return b"\x0a\x28\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(text)]) + text


BODIES = {
    "protobuf": pair("job", "store") + pair("db.password", SECRET) + pair("pod", "store-0"),
    "protobuf, nested value": b"\x0a\x08password\x12\x0c\x0a\x0a" + SECRET.encode() + b"\x1a\x03abc",
    "protobuf, printable length": b"\x0a\x05token\x12\x29" + (SECRET + "x" * 32).encode(),
    "protobuf, header": pair("http.request.header.authorization", f"Bearer {SECRET}"),
    "protobuf, two": pair("password", SECRET) + pair("password", SECRET) + b"\x00",
    "protobuf, not ASCII": pair("password", f"pässwörd-{SECRET}"),
    "message pack": msgpack.packb({"log": "x", "password": SECRET, "n": -1.5}),
    "message pack, long text": msgpack.packb({"api_key": SECRET * 15, "n": -1.5}),
    "message pack, header": msgpack.packb({"cookie": f"sid={SECRET}", "n": [None]}),
    "UTF-16": f"password={SECRET}; x".encode("utf-16-le"),
    "UTF-16, big end first": json.dumps({"password": SECRET}).encode("utf-16-be"),
    "Latin-1": f"pässword password={SECRET} ä".encode("latin-1"),
    "JSON with one bad byte": b'{"password":"' + SECRET.encode() + b'","a":"\xff"}',
    "C strings": b"user\x00bob\x00password\x00" + SECRET.encode() + b"\x00",
    "a token that nothing announces": bytes(range(40)) + b"\x0a\x30" + (SECRET * 6).encode() + bytes(range(200, 256)),
    "snappy": bytes(cramjam.snappy.compress_raw((pair("password", SECRET) * 3) + pair("pod", "store"))),
    "colours": f"\x1b[31mpassword\x1b[0m=\x1b[1m{SECRET}\x1b[0m \x07".encode(),
    "cut in the middle": b"x" * (MAX_BODY_BYTES - 12) + f"password={SECRET} ".encode() + b"y" * 5_000,
}


@pytest.mark.parametrize("name", BODIES)
def test_secrets_in_bytes_are_taken_out_and_counted(name: str) -> None:
    scrubber = Scrubber()
    text = shown(BODIES[name], scrubber)
    assert SECRET not in text
    assert scrubber.counts.total() >= 1


def test_what_is_no_secret_can_be_read() -> None:
    assert "store" in shown(BODIES["protobuf"])
    assert shown(b'{"a": 1}\n\tb') == '{"a": 1}\n\tb'
    assert shown("grüße – über".encode()) == "grüße – über"
    assert shown(pair("db.password", SECRET)).endswith(MARK)
    assert shown(gzip.compress(b"password=" + SECRET.encode())) != ""


def test_headers_are_taken_out_of_bytes_even_where_nothing_is_scrubbed() -> None:
    for name in ("protobuf, header", "message pack, header"):
        assert SECRET not in shown(BODIES[name], Scrubber(enabled=False))
    assert SECRET in shown(BODIES["protobuf"], Scrubber(enabled=False))


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_nothing_that_a_terminal_acts_on_is_shown(body: bytes) -> None:
    text = shown(body)
    assert all(one.isprintable() or one in "\n\t\r\u00a0" or ord(one) > 0xA0 for one in text)
    assert not set(text) & set("\x1b\x07\x9b\u202e\u2066\ufeff")
    assert len(text.encode()) <= MAX_BODY_BYTES


KEYS = st.sampled_from(["password", "api_key", "cookie", "x-auth-token", "client_secret"])
PARTS = st.text(min_size=1, max_size=12)


@given(KEYS, st.lists(st.tuples(PARTS, PARTS), max_size=3), st.lists(st.tuples(PARTS, PARTS), max_size=3))
def test_a_secret_anywhere_in_message_pack_is_taken_out(key: str, before: list, after: list) -> None:
    body = msgpack.packb(dict([*before, (key, SECRET), *after])) + b"\xc1"
    assert SECRET not in shown(body)


@pytest.mark.parametrize("body", [b"token\x00" * 800, b"\xff\x00" * 4_000, b"token" + b"\xff " * 4_000, b"A" * 8_000])
def test_long_bodies_take_no_longer_for_their_length(body: bytes) -> None:
    shown(body)
