"""Messages between steps as bytes: each shard and scope where it lives, and the same bytes each time."""

from __future__ import annotations

import polars as pl
import pytest

from engine.errors import StateMismatch
from engine.messages import ANOMALIES, CHANGES, CONTEXT, DEADLETTERS, FEATURES, FITS, HISTORY, INCIDENTS, Message
from engine.notice import Notice, face_of
from engine.runners.kafka.codec import decode, encode, shards_of
from engine.types import Coverage, DeadLetter, Fit, Inputs, Mark
from engine.values import to_json
from tests.opsbrain import samples

FRAME = pl.DataFrame({"shard": [0, 1, 2, 3, 5, 9], "entity": list("abcdef"), "n": [1, 2, 3, 4, 5, 6]})
MARK = Mark(("logs/0",), 60_000, 120_000, {60_000: {"logs": Coverage(3, 60_001, 61_000)}})


def back(wires, stream):
    return [decode(stream, one.key, one.value, dict(one.headers)) for one in wires]


def test_a_frame_by_shard_is_split_so_that_each_partition_gets_its_own_shards() -> None:
    wires = encode(Message(FEATURES, "logs/0/60000", FRAME), 4)
    for wire, message in zip(wires, back(wires, FEATURES), strict=True):
        assert set(message.payload["shard"]) <= set(shards_of(wire.partition, 4, 64))
        assert message.key == "logs/0/60000"
    assert sorted(n for m in back(wires, FEATURES) for n in m.payload["n"]) == FRAME["n"].to_list()


def test_a_frame_by_scope_stays_whole_and_all_streams_of_a_scope_meet() -> None:
    messages = [Message(stream, f"eu/{stream}", FRAME, scope="eu") for stream in (ANOMALIES, CONTEXT, CHANGES, HISTORY)]
    wires = [wire for message in messages for wire in encode(message, 8)]
    assert len(wires) == 4
    assert len({wire.partition for wire in wires}) == 1
    assert all(m.payload.equals(FRAME) and m.scope == "eu" for m in back(wires, ANOMALIES))


@pytest.mark.parametrize(
    "message",
    [
        Message(FEATURES, "logs/0/120000", MARK),
        Message(FEATURES, "inputs", Inputs({"logs/0": 60_000}, ("eu", "us"))),
        Message(FITS, "forest/eu/1", Fit("eu", "forest", 1, 2, {"version": 1, "n": 3}, "abc")),
        Message(FITS, "forest/eu/2", Fit("eu", "forest", 1, 2, None, "", "too short")),
    ],
)
def test_what_concerns_all_shards_goes_to_every_partition_and_comes_back(message: Message) -> None:
    wires = encode(message, 3)
    assert [wire.partition for wire in wires] == [0, 1, 2]
    assert back(wires, message.stream) == [message] * 3


def test_a_step_by_scope_hears_only_of_the_scopes_that_live_with_it() -> None:
    scopes = tuple(f"s{n}" for n in range(20))
    told = [m.payload.scopes for m in back(encode(Message(HISTORY, "inputs", Inputs({"a": 1}, scopes)), 4), HISTORY)]
    assert sorted(name for names in told for name in names) == sorted(scopes)
    for number, names in enumerate(told):
        for name in names:
            (wire,) = encode(Message(HISTORY, f"{name}/k", FRAME, scope=name), 4)
            assert wire.partition == number


def test_a_dead_letter_comes_back() -> None:
    letter = Message(DEADLETTERS, "logs/0/7", DeadLetter("logs/0", 7, "not JSON", "{"))
    assert back(encode(letter, 4), DEADLETTERS) == [letter]


def test_foreign_messages_are_refused() -> None:
    with pytest.raises(StateMismatch, match="shared with something else"):
        decode(FEATURES, b"k", b"v", {})


def test_a_notice_travels_with_its_incident() -> None:
    notice = Notice((samples.fix(),), face_of(samples.incident()))
    message = Message(INCIDENTS, "i/1", samples.incident(), "demo", notice)
    (wire,) = encode(message, 4)
    (came,) = back([wire], INCIDENTS)
    assert to_json(came) == to_json(message)
    assert encode(came, 4) == [wire]
