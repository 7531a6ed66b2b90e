"""Each check of sources refuses its bug, and passes what has none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from engine.schemas import Kind, conform
from engine.types import DeadLetter, Records
from ingest import checks

ROWS = 10
BAD = 4  # one message cannot be read


def rows(offsets: Sequence[int], entity: str = "demo/service/shop/store") -> pl.DataFrame:
    columns = {
        "ts_ms": [1_700_000_000_000 + offset for offset in offsets],
        "offset": list(offsets),
        "entity": [entity for _ in offsets],
        "indicator": ["up" for _ in offsets],
        "instance": ["" for _ in offsets],
        "form": ["gauge" for _ in offsets],
        "value": [float(offset) for offset in offsets],
    }
    return conform("metrics", pl.DataFrame(columns))


class Given:
    """A reader of batches of three messages; subclasses have one thing wrong."""

    def __init__(self, offset: int, built: int) -> None:
        self.at = self.start(offset)
        self.built = built

    def start(self, offset: int) -> int:
        return offset

    @property
    def position(self) -> int:
        return self.at

    def frame(self, offsets: Sequence[int]) -> pl.DataFrame:
        return rows(offsets)

    def letters(self, offsets: Sequence[int]) -> list[DeadLetter]:
        return [DeadLetter("m", BAD, "bad", "")] if BAD in offsets else []

    def next_batch(self) -> Any:
        if self.at >= ROWS:
            return None
        offsets = range(self.at, min(self.at + 3, ROWS))
        self.at = offsets.stop
        frame = self.frame([offset for offset in offsets if offset != BAD])
        return Records("metrics", frame, "m", self.next_offset()), self.letters(offsets)

    def next_offset(self) -> int:
        return self.at

    def close(self) -> None:
        pass


class Source:
    resolution_ms = 1_000
    scopes: tuple[str, ...] = ("demo",)
    built = 0

    def __init__(self, reader: type[Given]) -> None:
        self._reader = reader
        Source.built += 1
        self._number = Source.built

    def partitions(self) -> Mapping[str, Kind]:
        return {"m": "metrics"}

    def open(self, partition: str, offset: int = 0) -> Given:
        return self._reader(offset, self._number)


class ForgetsTheOffset(Given):
    def start(self, offset: int) -> int:
        return 0


class SkipsOne(Given):
    def start(self, offset: int) -> int:
        return offset + 1 if offset else 0


class Repeats(Given):
    def start(self, offset: int) -> int:
        return max(0, offset - 1)


class DiffersByInstance(Given):
    def frame(self, offsets: Sequence[int]) -> pl.DataFrame:
        return rows(offsets).with_columns(value=pl.lit(float(self.built)))


class ForgetsLetters(Given):
    def __init__(self, offset: int, built: int) -> None:
        super().__init__(offset, built)
        self.resumed = offset > 0

    def letters(self, offsets: Sequence[int]) -> list[DeadLetter]:
        return [] if self.resumed else super().letters(offsets)


class Backwards(Given):
    def frame(self, offsets: Sequence[int]) -> pl.DataFrame:
        return rows(list(reversed(offsets)))


class WrongNext(Given):
    def next_offset(self) -> int:
        return self.at + 1


class CountsTwice(Given):
    def letters(self, offsets: Sequence[int]) -> list[DeadLetter]:
        return [DeadLetter("m", offset, "bad", "") for offset in offsets]


class OtherSchema(Given):
    def frame(self, offsets: Sequence[int]) -> pl.DataFrame:
        return rows(offsets).drop("instance")


class OtherScope(Given):
    def frame(self, offsets: Sequence[int]) -> pl.DataFrame:
        return rows(offsets, "other/service/shop/store")


@pytest.mark.parametrize("check", checks.SOURCE_CHECKS, ids=lambda check: check.__name__)
def test_a_good_source_passes(check: Callable[..., None]) -> None:
    check(lambda: Source(Given))


@pytest.mark.parametrize(
    ("reader", "check"),
    [
        (DiffersByInstance, checks.reads_the_same_again),
        (ForgetsTheOffset, checks.resumes_where_it_stood),
        (SkipsOne, checks.resumes_where_it_stood),
        (Repeats, checks.resumes_where_it_stood),
        (ForgetsLetters, checks.resumes_where_it_stood),
        (Backwards, checks.positions_cover_what_was_given),
        (WrongNext, checks.positions_cover_what_was_given),
        (CountsTwice, checks.positions_cover_what_was_given),
        (OtherSchema, checks.rows_have_the_schema),
        (OtherScope, checks.rows_have_the_schema),
    ],
    ids=lambda one: one.__name__,
)
def test_each_check_refuses_its_bug(reader: type[Given], check: Callable[..., None]) -> None:
    with pytest.raises(checks.Broken):
        check(lambda: Source(reader))
