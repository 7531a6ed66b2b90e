"""What every wire format and every source must promise, as checks that anybody can run on theirs.

    for check in FORMAT_CHECKS: check(lambda: Fluentbit(Identity("demo")), bodies)
    for check in SOURCE_CHECKS: check(lambda: Recording(path, format_of))

A check returns when the promise holds, and raises `Broken`, which says what was seen, when it does not. It is given a
function that builds the part, since some promises are about two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.numbered import NUMBERED, SERIES, Numbered, SeriesNames, expanded
from engine.ports import Format, Reader, Source
from engine.schemas import SCHEMAS
from engine.types import DeadLetter

BuildFormat = Callable[[], Format]
BuildSource = Callable[[], Source]

FIRST_OFFSET: Final = 1_000  # not 0, so that a position in the batch taken for an offset is seen
_INPUT: Final = "checked"

# Bytes that no format may stumble over: nothing, no JSON, no UTF-8, wrong types, no end, too much of everything.
HOSTILE: Final[tuple[bytes, ...]] = (
    b"",
    b" ",
    b"{",
    b"}",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"a":"\xff"}',
    b'{"a":"\\ud800"}',
    b"\x00" * 64,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"9" * 5_000,
    b"1e999",
    b"NaN",
)


EMPTY: Final[tuple[bytes, ...]] = (b"", b" ", b"[]", b"{}")
"""Of these, what some formats take for a batch that holds nothing."""


class Broken(AssertionError):
    """A promise does not hold; the text says which, and what was seen."""


@dataclass(frozen=True, slots=True)
class Read:
    """All that a reader gave: the rows, the dead letters, and where it stood before each batch."""

    frame: pl.DataFrame
    letters: tuple[DeadLetter, ...]
    positions: tuple[int, ...]


def never_raises(build: BuildFormat, bodies: Sequence[bytes]) -> None:
    """Hostile bytes, and good ones cut or changed by a byte, are rows or dead letters; what decode raises comes out."""
    spoiled = [*HOSTILE, *(one for body in bodies[:20] for one in _spoiled(body))]
    offsets = range(len(spoiled))
    build().decode(spoiled, offsets, _INPUT)
    for offset, body in enumerate(spoiled):
        build().decode([body], [offset], _INPUT)


def accounts_for_every_message(build: BuildFormat, bodies: Sequence[bytes]) -> None:
    """Every message is rows, dead letters or both, under its own offset and input; only an empty batch is neither."""
    sent = [one for body in bodies for one in (body, HOSTILE[len(body) % len(HOSTILE)])]
    offsets = [FIRST_OFFSET + 3 * number for number in range(len(sent))]
    frame, letters = _decoded(build(), sent, offsets, _INPUT)
    rows, dead = set(frame["offset"].to_list()), {letter.offset for letter in letters if not letter.part}
    _hold(len({letter.key for letter in letters}) == len(letters), "two dead letters have one key")
    wanted = {offset for offset, body in zip(offsets, sent, strict=True) if body not in EMPTY}
    _hold(wanted <= rows | dead, f"messages {sorted(wanted - rows - dead)[:5]} are lost")
    _hold(rows | dead <= set(offsets), f"messages {sorted((rows | dead) - set(offsets))[:5]} were never sent")
    _hold(all(letter.input == _INPUT and letter.reason for letter in letters), "a dead letter names no input or reason")


def reads_good_messages(build: BuildFormat, bodies: Sequence[bytes]) -> None:
    """Good messages become rows of the kind's schema, without nulls where there may be none, in their order."""
    wire = build()
    frame, letters = _decoded(wire, bodies, range(FIRST_OFFSET, FIRST_OFFSET + len(bodies)), _INPUT)
    _hold(not letters, f"a good message was refused: {letters[0].reason if letters else ''}")
    _hold(frame.schema == SCHEMAS[wire.kind], f"the schema is {frame.schema}, not that of {wire.kind}")
    nulls = [name for name in frame.columns if name != "parent_span_id" and frame[name].null_count()]
    _hold(not nulls, f"nulls in {', '.join(nulls)}")
    _hold(frame["offset"].is_sorted(), "rows are not in the order of their messages")
    bad = [entity for entity in frame["entity"].unique() if len(entity.split("/")) != 4 or not all(entity.split("/"))]
    _hold(not bad, f"{bad[:3]} is no entity")


def empty_batch_is_empty(build: BuildFormat, bodies: Sequence[bytes]) -> None:
    """No messages give no rows, in the kind's schema."""
    wire = build()
    frame, letters = _decoded(wire, [], [], _INPUT)
    _hold(frame.is_empty() and not letters, "nothing became something")
    _hold(frame.schema == SCHEMAS[wire.kind], f"the schema of nothing is {frame.schema}")


def decoding_is_pure(build: BuildFormat, bodies: Sequence[bytes]) -> None:
    """The same messages give the same rows: again, in another instance, and however they are cut into batches."""
    offsets = range(FIRST_OFFSET, FIRST_OFFSET + len(bodies))
    wire = build()
    frame, letters = _decoded(wire, bodies, offsets, _INPUT)
    again, letters_again = _decoded(wire, bodies, offsets, _INPUT)
    _hold(_same(frame, again) and letters == letters_again, "decoding twice gives another answer")
    one_by_one = [_decoded(build(), [body], [offset], _INPUT) for body, offset in zip(bodies, offsets, strict=True)]
    _hold(_same(frame, pl.concat([one for one, _ in one_by_one])), "one by one gives other rows than at once")


def numbers_mean_one_thing(build: BuildFormat, bodies: Sequence[bytes]) -> None:
    """Numbers of series are within their names; there every identity stands once and is not 0.

    Within one generation names only grow, and the same number keeps its meaning; a generation never comes back.
    """
    wire = build()
    before: SeriesNames | None = None
    generations: set[int] = set()
    for cut in (1, 3, len(bodies) or 1):
        for start in range(0, len(bodies), cut):
            part = bodies[start : start + cut]
            batch = wire.decode(part, range(FIRST_OFFSET, FIRST_OFFSET + len(part)), _INPUT).batch
            if isinstance(batch, Numbered):
                _check_numbered(batch)
                _check_follows(before, batch.names, generations)
                before = batch.names


def _check_numbered(batch: Numbered) -> None:
    _hold(batch.frame.schema == NUMBERED, f"the schema of numbered rows is {batch.frame.schema}")
    _hold(batch.names.frame.schema == SERIES, f"the schema of names is {batch.names.frame.schema}")
    height = batch.names.frame.height
    _hold(not (batch.frame["series"] >= height).any(), f"a row is of a series beyond the {height} that have names")
    identities = batch.names.frame["identity"]
    _hold(identities.n_unique() == len(identities), "an identity has two numbers")
    _hold(not (identities == 0).any(), "an identity is 0")


def _check_follows(before: SeriesNames | None, names: SeriesNames, generations: set[int]) -> None:
    if before is not None and before.generation == names.generation:
        grown = names.frame.height >= before.frame.height and names.frame.head(before.frame.height).equals(before.frame)
        _hold(grown, "a number of the same generation means something else than before")
    else:
        _hold(names.generation not in generations, f"generation {names.generation} came back")
    generations.add(names.generation)


def dead_letters_are_small_and_scrubbed(build: BuildFormat, bodies: Sequence[bytes]) -> None:
    """A dead letter holds at most some kB of its body, and no secret."""
    secret = b"password=Tr0ub4dor&3-horse"
    _, letters = _decoded(build(), [b"{" + secret + b" " + b"x" * 1_000_000], [0], _INPUT)
    _hold(len(letters) == 1, "an unreadable message has no dead letter")
    _hold("Tr0ub4dor" not in letters[0].body + letters[0].reason, "a dead letter holds a secret")
    _hold(len(letters[0].body) <= 16_384, f"a dead letter holds {len(letters[0].body)} characters")


def reads_the_same_again(build: BuildSource) -> None:
    """Two instances read the same rows, dead letters and positions."""
    for partition in sorted(build().partitions()):
        first, second = read(build().open(partition)), read(build().open(partition))
        _hold(_same_read(first, second), f"{partition}: reading again gives another answer")


def resumes_where_it_stood(build: BuildSource) -> None:
    """A reader opened at a position that another one reported gives exactly the rest."""
    source = build()
    for partition in sorted(source.partitions()):
        whole = read(source.open(partition))
        offset = whole.frame["offset"]
        middle = int(offset[len(offset) // 2]) if len(offset) else 0
        for position in sorted({*whole.positions, middle}):
            rest = read(build().open(partition, position))
            expected = whole.frame.filter(pl.col("offset") >= position)
            left = tuple(letter for letter in whole.letters if letter.offset >= position)
            _hold(_same(expected, rest.frame), f"{partition}: opened at {position}, other rows come")
            _hold(left == rest.letters, f"{partition}: opened at {position}, other dead letters come")


def positions_cover_what_was_given(build: BuildSource) -> None:
    """Offsets only grow, the position is beyond all that was given, and no message is both a row and a dead letter."""
    source = build()
    for partition in sorted(source.partitions()):
        reader = source.open(partition)
        given: set[int] = set()
        dead: list[int] = []
        before = reader.position
        while (batch := reader.next_batch()) is not None:
            records, letters = batch
            offsets = [] if records is None else expanded(records.frame)["offset"].to_list()
            _hold(offsets == sorted(offsets), f"{partition}: offsets go back")
            came = [*offsets, *(letter.offset for letter in letters)]
            _hold(all(before <= offset < reader.position for offset in came), f"{partition}: position is not past it")
            _hold(records is None or records.next_offset == reader.position, f"{partition}: next_offset is another one")
            given |= set(offsets)
            dead += [letter.offset for letter in letters]
            before = reader.position
        _hold(not given & set(dead) and len(set(dead)) == len(dead), f"{partition}: a message is counted twice")
        reader.close()


def rows_have_the_schema(build: BuildSource) -> None:
    """Rows have the schema of their partition's kind, and entities in the source's scopes."""
    source = build()
    _hold(bool(source.scopes), "there is no scope")
    for partition, kind in sorted(source.partitions().items()):
        frame = read(source.open(partition)).frame
        _hold(frame.is_empty() or frame.schema == SCHEMAS[kind], f"{partition}: the schema is {frame.schema}")
        scopes = {entity.partition("/")[0] for entity in frame["entity"].unique()} if frame.height else set()
        _hold(scopes <= set(source.scopes), f"{partition}: scopes {sorted(scopes)} are not declared")


FORMAT_CHECKS: Final = (
    never_raises,
    accounts_for_every_message,
    reads_good_messages,
    empty_batch_is_empty,
    decoding_is_pure,
    numbers_mean_one_thing,
    dead_letters_are_small_and_scrubbed,
)
SOURCE_CHECKS: Final = (
    reads_the_same_again,
    resumes_where_it_stood,
    positions_cover_what_was_given,
    rows_have_the_schema,
)


def read(reader: Reader) -> Read:
    """Return everything that a reader gives, and close it."""
    frames: list[pl.DataFrame] = []
    letters: list[DeadLetter] = []
    positions = [reader.position]
    while (batch := reader.next_batch()) is not None:
        records, dead = batch
        if records is not None:
            frames.append(expanded(records.frame))
        letters += dead
        positions.append(reader.position)
    reader.close()
    frame = pl.concat(frames) if frames else pl.DataFrame(schema={"offset": pl.Int64, "entity": pl.String})
    return Read(frame, tuple(letters), tuple(positions))


def _decoded(
    format: Format, bodies: Sequence[bytes], offsets: Sequence[int], input: str
) -> tuple[pl.DataFrame, list[DeadLetter]]:
    decoded = format.decode(bodies, offsets, input)
    return decoded.rows, list(decoded.letters)


def _hold(promise: bool, otherwise: str) -> None:
    if not promise:
        raise Broken(otherwise)


def _spoiled(body: bytes) -> list[bytes]:
    """Return a good message cut at three places and with one byte changed at eight."""
    cuts = [body[: len(body) * part // 4] for part in (1, 2, 3)]
    places = [len(body) * part // 8 for part in range(8)] if body else []
    return cuts + [body[:at] + bytes([body[at] ^ 0x15]) + body[at + 1 :] for at in places]


def _same(left: pl.DataFrame, right: pl.DataFrame) -> bool:
    """Whether two frames are equal; NaN equals NaN. Frames without rows are equal whatever their columns."""
    return (left.is_empty() and right.is_empty()) or left.equals(right)


def _same_read(left: Read, right: Read) -> bool:
    return _same(left.frame, right.frame) and (left.letters, left.positions) == (right.letters, right.positions)
