"""The decoder keeps no state: killed anywhere and started from what was committed, it says the same again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.messages import Message
from engine.ports import Decoded
from engine.runners.kafka.config import Telemetry
from engine.runners.kafka.decoder import Committed, Decoder, Input, committed_text
from engine.schemas import conform, empty
from engine.types import DeadLetter
from engine.window import WindowConfig
from tests.engine.parts import canonical

WINDOW = WindowConfig(resolution_ms=1_000, lateness_ms=500, shards=4)


class Numbers:
    """Bodies are `time entity`; anything else is a dead letter."""

    name, kind = "numbers", "logs"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        rows, dead = [], []
        for offset, body in zip(offsets, bodies, strict=True):
            time, _, entity = body.decode().partition(" ")
            if time.isdigit():
                row = {"ts_ms": int(time), "offset": offset, "entity": f"x/service/-/{entity}"}
                rows.append(row | {"severity": "info", "body": "b", "signature": f"s{offset % 3}"})
            else:
                dead.append(DeadLetter(input, offset, "no number", body.decode()))
        schema = {"ts_ms": pl.Int64, "offset": pl.Int64, "entity": pl.String}
        return Decoded(conform("logs", pl.DataFrame(rows, schema_overrides=schema)) if rows else empty("logs"), dead)


TELEMETRY = Telemetry("logs", Numbers())


def commit(input: Input, idle_ms: int = 0) -> tuple[int, Committed]:
    return input.step.safe_offset(), msgspec.json.decode(committed_text(input, idle_ms), type=Committed)


def batches(bodies: list[bytes], start: int, sizes: Sequence[int]) -> list[tuple[list[int], list[bytes]]]:
    cut, at, turn = [], start, 0
    while at < len(bodies):
        size = sizes[turn % len(sizes)]
        cut.append((list(range(at, min(at + size, len(bodies)))), bodies[at : at + size]))
        at, turn = at + size, turn + 1
    return cut


def undisturbed(bodies: list[bytes]) -> list[Message]:
    decoder = Decoder(WINDOW)
    input = decoder.start("logs", 0, TELEMETRY, None)
    said = decoder.take(input, range(len(bodies)), bodies, ended=False)
    return said + decoder.take(input, [], [], ended=True)


def content(messages: Sequence[Message]) -> dict[tuple[str, str], bytes]:
    """Return frames and dead letters by identity; how marks are cut depends on batches and means nothing."""
    return canonical([one for one in messages if type(one.payload).__name__ != "Mark"])


ROWS = st.tuples(st.integers(0, 9_000), st.sampled_from([b"a", b"b", b"c"])).map(lambda row: b"%d %s" % row)
BODIES = st.lists(st.one_of(ROWS, st.just(b"bad")), max_size=60)
SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=4)
CRASHES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5)), max_size=4)


@settings(max_examples=150, deadline=None)
@given(BODIES, SIZES, CRASHES)
def test_killed_anywhere_it_says_the_same(
    bodies: list[bytes], sizes: list[int], crashes: list[tuple[int, int]]
) -> None:
    decoder = Decoder(WINDOW)
    said: list[Message] = []
    offset, known = 0, None
    for commit_after, go_on in crashes:
        input = decoder.start("logs", 0, TELEMETRY, known)
        for number, (offsets, part) in enumerate(batches(bodies, offset, sizes)):
            if number >= commit_after + go_on:
                break
            said += decoder.take(input, offsets, part, ended=False)
            if number < commit_after:
                committed = commit(input)
        if commit_after and batches(bodies, offset, sizes):
            offset, known = committed
    input = decoder.start("logs", 0, TELEMETRY, known)
    for offsets, part in batches(bodies, offset, sizes):
        said += decoder.take(input, offsets, part, ended=False)
    said += decoder.take(input, [], [], ended=True)
    assert content(said) == content(undisturbed(bodies))


def test_an_idle_mark_that_was_committed_is_said_again_after_a_crash() -> None:
    decoder = Decoder(WINDOW)
    bodies = [b"1000 a", b"1500 b", b"2000 a"]
    first = decoder.start("logs", 0, TELEMETRY, None)
    said = decoder.take(first, range(3), bodies, ended=False)
    offset, known = commit(first, idle_ms=5_000)  # and dies before the mark is out
    again = decoder.start("logs", 0, TELEMETRY, known)
    said += decoder.take(again, range(offset, 3), bodies[offset:], ended=False)
    said += decoder.take(again, [3, 4], [b"4999 c", b"5000 c"], ended=False)
    said += decoder.take(again, [], [], ended=True)
    late = [one for one in said if one.stream == "late"]
    assert [one.key for one in late] == ["logs/0/3"]
    partials = {
        one.key: one.payload for one in said if one.stream == "features" and isinstance(one.payload, pl.DataFrame)
    }
    assert set(partials) == {"logs/0/1000", "logs/0/2000", "logs/0/5000"}


def test_an_idle_mark_waits_for_all_that_is_read_again() -> None:
    decoder = Decoder(WINDOW)
    bodies = [b"500 a", b"600 b", b"700 c"]
    first = decoder.start("logs", 0, TELEMETRY, None)
    said = decoder.take(first, range(3), bodies, ended=False)
    offset, known = commit(first, idle_ms=5_000)  # and dies before the mark is out
    said += first.step.on_idle(5_000)
    again = decoder.start("logs", 0, TELEMETRY, known)
    repeated: list[Message] = []
    for offsets, part in batches(bodies, offset, [1]):
        repeated += decoder.take(again, offsets, part, ended=False)
    assert again.step.emitted_ms == 5_000
    assert content(repeated) == content(said)


def test_what_was_committed_stands_until_its_rows_are_read_again() -> None:
    """A partition that moves on before its new owner has read anything must not lose the rows of its open windows."""
    decoder = Decoder(WINDOW)
    first = decoder.start("logs", 0, TELEMETRY, None)
    decoder.take(first, [0, 1, 2], [b"1000", b"1100", b"1200"], False)
    offset, committed = commit(first)
    assert (offset, committed.position) == (0, 3)
    second = decoder.start("logs", 0, TELEMETRY, committed)
    assert not second.has_read_again  # to commit now would say that nothing before 3 is needed
    decoder.take(second, [0, 1], [b"1000", b"1100"], False)
    assert not second.has_read_again
    decoder.take(second, [2], [b"1200"], False)
    assert second.has_read_again
    assert commit(second) == (offset, committed)
