"""Numbers of series are checked, and mean one thing, whatever comes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from engine.numbered import Numbered, SeriesNames
from engine.ports import Decoded
from ingest import checks
from ingest.identity import Identity
from ingest.metric_labels import Measured
from ingest.numbered_rows import together
from ingest.registry import format_of
from ingest.series_table import SeriesTable

BODIES = [
    b'{"labels":{"__name__":"up","job":"%d"},"name":"up","timestamp":"2025-08-22T10:00:00Z","value":"1"}' % (number % 5)
    for number in range(8)
]


class Misnumbered:
    """A format of metrics with one thing wrong in its numbers."""

    name, kind = "misnumbered", "metrics"

    def __init__(self, bend: Callable[[int, Numbered], Numbered]) -> None:
        self._real = format_of("prometheus-adapter", Identity("demo"))
        self._bend = bend
        self._calls = 0

    def decode(self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Any = ()) -> Decoded:
        self._calls += 1
        decoded = self._real.decode(bodies, offsets, input)
        assert isinstance(decoded.batch, Numbered)
        return replace(decoded, batch=self._bend(self._calls, decoded.batch))


def named(batch: Numbered, frame: pl.DataFrame, generation: int = 0) -> Numbered:
    return Numbered(batch.frame, SeriesNames(frame, generation))


def beyond(_: int, batch: Numbered) -> Numbered:
    return named(batch, batch.names.frame.head(batch.frame["series"].max()))


def twice(_: int, batch: Numbered) -> Numbered:
    return named(batch, pl.concat([batch.names.frame, batch.names.frame.head(1)]))


def zero(_: int, batch: Numbered) -> Numbered:
    return named(batch, batch.names.frame.with_columns(identity=pl.lit(0, pl.UInt64)).head(1).extend(batch.names.frame))


def other_schema(_: int, batch: Numbered) -> Numbered:
    return Numbered(batch.frame.cast({"series": pl.Int64}), batch.names)


def renamed(calls: int, batch: Numbered) -> Numbered:
    return named(batch, batch.names.frame.with_columns(indicator=pl.lit(f"called {calls}")))


def shrinks(calls: int, batch: Numbered) -> Numbered:
    return batch if calls < 8 else Numbered(batch.frame.head(0), SeriesNames(batch.names.frame.head(1), 0))


def comes_back(calls: int, batch: Numbered) -> Numbered:
    return named(batch, batch.names.frame, calls % 2)


@pytest.mark.parametrize(
    "bend", [beyond, twice, zero, other_schema, renamed, shrinks, comes_back], ids=lambda one: one.__name__
)
def test_the_check_refuses_its_bugs(bend: Callable[[int, Numbered], Numbered]) -> None:
    with pytest.raises(checks.Broken):
        checks.numbers_mean_one_thing(lambda: Misnumbered(bend), BODIES)


def test_the_check_lets_good_numbers_pass() -> None:
    checks.numbers_mean_one_thing(lambda: Misnumbered(lambda _, batch: batch), BODIES)
    checks.numbers_mean_one_thing(
        lambda: Misnumbered(lambda calls, batch: named(batch, batch.names.frame, calls)), BODIES
    )


UP = Measured("demo/service/shop/store", "up", "", "gauge", 7)


def numbers(table: SeriesTable, *series: Measured) -> list[int]:
    return table.numbers_of([repr(one).encode() for one in series], lambda place: series[place]).tolist()


def test_a_series_has_one_number_whatever_it_is_known_by() -> None:
    table = SeriesTable()
    assert table.numbers_of([b"a", b"b", b"a"], lambda place: UP).tolist() == [0, 0, 0]
    assert table.number_of(b"c", lambda: UP) == 0
    assert table.number_of(b"d", lambda: replace(UP, identity=8)) == 1
    assert table.names.frame.rows() == [(*_names(UP), 7), (*_names(UP), 8)]


def _names(series: Measured) -> tuple[str, ...]:
    return series.entity, series.indicator, series.instance, series.form


def test_what_has_one_identity_and_two_forms_goes_out_with_its_names() -> None:
    table = SeriesTable()
    counter = replace(UP, form="counter")
    other = replace(UP, identity=8)
    found = numbers(table, UP, counter, other, UP, counter)
    assert found == [0, -1, 1, 0, -1]
    assert table.reasons(pl.Series(found).to_numpy()).to_list() == [""] * 5
    frame = pl.DataFrame({"series": found, "ts_ms": [1] * 5, "offset": range(5), "value": [1.0] * 5})
    rows = table.rows(frame)
    assert isinstance(rows, pl.DataFrame)
    assert rows["form"].to_list() == ["gauge", "counter", "gauge", "gauge", "counter"]
    assert rows["identity"].to_list() == [7, 7, 8, 7, 7]
    assert isinstance(table.rows(frame.filter(pl.col("series") >= 0)), Numbered)
    assert table.names.frame["identity"].to_list() == [7, 8]


def test_names_grow_in_pieces_and_few_of_them() -> None:
    table = SeriesTable()
    before = table.names.frame
    for number in range(1, 2_000):
        assert table.number_of(b"%d" % number, lambda: replace(UP, identity=number)) == number - 1  # noqa: B023
        frame = table.names.frame
        assert frame.height == number and frame.n_chunks() < 8
        assert frame.head(before.height).equals(before) or number % 100
        before = frame
    assert before["identity"].to_list() == list(range(1, 2_000))


def test_a_generation_never_comes_back() -> None:
    table = SeriesTable()
    seen = []
    for _ in range(3):
        assert table.number_of(b"a", lambda: UP) == 0
        seen.append(table.names.generation)
        table.clear()
    assert seen == [0, 1, 2]


def test_rows_of_two_generations_go_out_with_their_names() -> None:
    table = SeriesTable()
    parts = []
    for identity in (7, 8):
        number = table.number_of(b"a", lambda: replace(UP, identity=identity))  # noqa: B023
        frame = pl.DataFrame({"series": [number], "ts_ms": [1], "offset": [9 - identity], "value": [1.0]})
        parts.append(table.rows(frame))
        table.clear()
    rows = together(parts)
    assert isinstance(rows, pl.DataFrame)
    assert rows["identity"].to_list() == [8, 7] and rows["offset"].to_list() == [1, 2]
