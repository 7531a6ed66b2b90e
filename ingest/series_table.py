"""Remembers what label sets measure, numbered, so that a row costs a number and not four texts.

What comes out of decoding has rows with numbers (`engine.numbered`), and beside them, once, what the numbers mean.
There every identity stands once; so some series are kept apart, and have numbers below 0:

- label sets that cannot be used: their rows are refused before they go out
- series that have the identity of another one but are called otherwise (a sender said first that it is a gauge, then
  that it is a counter): a batch that holds such rows goes out with all of its columns
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

import numpy as np
import polars as pl
from xxhash import xxh3_128_digest

from engine.hash_numbers import UNKNOWN, HashNumbers
from engine.numbered import NUMBERED, SERIES, Numbered, Rows, SeriesNames
from engine.schemas import conform
from engine.types import Floats, Ints
from ingest.metric_labels import Measured
from ingest.numbered_rows import numbered
from ingest.refused import Refused
from ingest.times import EARLIEST_MS, LATEST_MS, OUTSIDE

MAX_SERIES: Final = 2_200_000
"""How many series are remembered, of an input format, before all are forgotten and learned again."""

MAX_BYTES: Final = 512 * 1024 * 1024
"""How much memory that may take. A series takes some 150 bytes beside what it is called."""

_WORDS: Final = Struct("=QQ")
_MAX_RECENT: Final = 100_000
_KEY_BYTES: Final = 40
_SERIES_BYTES: Final = 110
_GROWTH: Final = 8  # a piece of the names is put together with the one before once it has an eighth of its rows
_MAX_PIECE: Final = 1 << 18  # rows; to put larger ones together would take their memory twice


class SeriesTable:
    """Numbers series by what they are known by on the wire.

    `numbers` are some keys that were asked for lately, to be looked into directly, for speed. Numbers hold until
    `clear`.
    """

    __slots__ = (
        "_apart",
        "_apart_numbers",
        "_bytes",
        "_generation",
        "_identities",
        "_known",
        "_names",
        "_new",
        "_pieces",
        "numbers",
    )

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self._generation = 0
        self._forget()

    def _forget(self) -> None:
        self._known = HashNumbers()  # by keys
        self._identities = HashNumbers()
        self._apart_numbers: dict[bytes, int] = {}
        self._pieces: list[pl.DataFrame] = []
        self._new: list[Measured] = []
        self._apart: list[Measured] = []
        self._names: SeriesNames | None = None
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Return whether it is time to `clear`."""
        keys = len(self._known) + len(self._apart_numbers)
        return keys > MAX_SERIES or self._bytes > MAX_BYTES

    def clear(self) -> None:
        """Forget everything. No number given before may be used then."""
        self.numbers.clear()
        self._generation += 1
        self._forget()

    @property
    def height(self) -> int:
        """Return how many series there are."""
        return len(self._identities) + len(self._apart)

    def number_of(self, key: bytes, measured: Callable[[], Measured]) -> int:
        """Return the number of one series by its key; `measured` is asked if it is new."""
        number = self.numbers.get(key)
        if number is None:
            number = self._looked_up(xxh3_128_digest(key), measured)
            if len(self.numbers) >= _MAX_RECENT:
                self.numbers.clear()
            self.numbers[key] = number
        return number

    def _looked_up(self, digest: bytes, measured: Callable[[], Measured]) -> int:
        hash, check = _WORDS.unpack(digest)
        number = self._known.get(hash, check)
        if number != UNKNOWN:
            return number
        apart = self._apart_numbers.get(digest)
        if apart is not None:
            return apart
        number = self._number(measured())
        self._bytes += _KEY_BYTES
        if number < 0:
            self._apart_numbers[digest] = number
        else:
            self._known.put(hash, number, check)
        return number

    def find(self, keys: Sequence[bytes]) -> Ints:
        """Return (N,) the numbers of series by their keys; UNKNOWN where there is none, or none that can be used."""
        hashes = np.frombuffer(b"".join(map(xxh3_128_digest, keys)), np.uint64).reshape(-1, 2)
        return self._known.find(hashes[:, 0], hashes[:, 1])

    def numbers_of(self, keys: Sequence[bytes], measured: Callable[[int], Measured]) -> Ints:
        """Return (N,) the numbers of series by their keys; `measured` is asked for each new one by its place."""
        if not keys:
            return np.empty(0, np.int64)
        digests = list(map(xxh3_128_digest, keys))
        hashes = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
        numbers = self._known.find(hashes[:, 0], hashes[:, 1])
        new = np.flatnonzero(numbers == UNKNOWN)
        if len(new):
            learned = self._apart_numbers
            for place in new.tolist():
                digest = digests[place]
                number = learned.get(digest)
                if number is None:
                    number = learned[digest] = self._number(measured(place))
                    self._bytes += _KEY_BYTES
                numbers[place] = number
            usual = new[numbers[new] >= 0]
            self._known.add(hashes[usual, 0], numbers[usual], hashes[usual, 1])
            for place in usual.tolist():
                learned.pop(digests[place], None)
        return numbers

    def _number(self, series: Measured) -> int:
        if series.reason:
            return self._kept_apart(series)
        known = self._identities.get(series.identity)
        if known != UNKNOWN:
            return known if self._called(known) == series else self._kept_apart(series)
        number = len(self._identities)
        self._identities.put(series.identity, number)
        self._new.append(series)
        self._bytes += _SERIES_BYTES + len(series.entity) + len(series.indicator) + len(series.instance)
        return number

    def _kept_apart(self, series: Measured) -> int:
        self._apart.append(series)
        return -len(self._apart)

    def _called(self, number: int) -> Measured:
        """Return the series of a number."""
        for piece in self._pieces:
            if number < piece.height:
                return Measured(*piece.row(number))
            number -= piece.height
        return self._new[number]

    @property
    def names(self) -> SeriesNames:
        """Return what the series are called that have numbers."""
        if self._new:
            columns = {name: [getattr(one, name) for one in self._new] for name in SERIES}
            self._pieces.append(pl.DataFrame(columns, schema=SERIES))
            self._new = []
            self._names = None
            _put_together(self._pieces)
        if self._names is None:
            frame = pl.concat(self._pieces, rechunk=False) if self._pieces else pl.DataFrame(schema=SERIES)
            self._names = SeriesNames(frame, self._generation)
        return self._names

    def reasons(self, numbers: Ints) -> pl.Series | None:
        """Return `reason`, why rows cannot be used by the numbers of their series, "" if they can; None if all can."""
        if not len(numbers) or numbers.min() >= 0:
            return None
        texts = ["" if number >= 0 else self._apart[-1 - number].reason for number in numbers.tolist()]
        return pl.Series("reason", texts, pl.String)

    def sane(self, numbers: Ints, positions: Ints, ts_ms: Ints, values: Floats, refused: Refused) -> Rows:
        """Return rows, with positions of messages as offsets; refuse those of unusable series, and at no sane time."""
        if not len(numbers) or (numbers.min() >= 0 and ts_ms.min() >= EARLIEST_MS and ts_ms.max() < LATEST_MS):
            return numbered(self.names, numbers, positions, ts_ms, values)
        value = np.where(np.isfinite(values), values, np.nan)
        frame = pl.DataFrame({"series": numbers, "at": positions, "ts_ms": ts_ms, "value": value})
        reasons = self.reasons(numbers)
        if reasons is not None:
            frame = frame.hstack([reasons])
            for reason in reasons.unique().sort():
                frame = refused.rows(frame, (pl.col("reason") == reason) & (pl.col("reason") != ""), reason)
        inside = pl.col("ts_ms").is_between(EARLIEST_MS, LATEST_MS, closed="left")
        return self.rows(refused.rows(frame, ~inside, OUTSIDE).with_columns(offset=pl.col("at")))

    def rows(self, frame: pl.DataFrame) -> Rows:
        """Return rows as they go out, given `series`, their numbers, beside `ts_ms`, `offset` and `value`."""
        names = self.names
        numbers = frame["series"].to_numpy()
        if not len(numbers) or numbers.min() >= 0:
            return Numbered(frame.select(pl.col(name).cast(dtype) for name, dtype in NUMBERED.items()), names)
        apart = pl.DataFrame({name: [getattr(one, name) for one in self._apart] for name in SERIES}, schema=SERIES)
        both = pl.concat([names.frame, apart.reverse()])
        places = np.where(numbers < 0, numbers + both.height, numbers)  # those below 0 count from the end
        called = both[places]
        return conform("metrics", frame.hstack(called))


def _put_together(pieces: list[pl.DataFrame]) -> None:
    """Put the last pieces together until each has far fewer rows than the one before: few copies, and few pieces."""
    while len(pieces) > 1 and min(_MAX_PIECE, pieces[-1].height * _GROWTH) > pieces[-2].height:
        last = pieces.pop()
        pieces[-1] = pl.concat([pieces[-1], last], rechunk=True)
