"""A sort on disk gives what a sort in memory would, whatever comes in which order, and leaves nothing behind."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import SourceError
from ingest.event_time_order import EventTimeOrder

SCHEMA = {"ts_ms": pl.Int64, "entity": pl.String, "value": pl.Float64}
ROWS = st.lists(
    st.tuples(
        st.integers(0, 300), st.sampled_from(["a", "b", "c/ä", "d"]), st.sampled_from([0.5, 1.5, float("nan"), None])
    ),
    max_size=60,
)


def frame(rows: list) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def ordered(rows: list, cut: int, **settings) -> tuple[pl.DataFrame, int]:
    order = EventTimeOrder(step=50, **settings)
    try:
        for start in range(0, len(rows), cut):
            order.add(frame(rows[start : start + cut]))
        pieces = list(order.pieces())
        return pl.concat(pieces) if pieces else frame([]), sum(order.repeats.values())
    finally:
        order.close()


@pytest.fixture
def room(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 60), st.integers(1, 8), st.sampled_from([1, 400, 10**9]))
def test_the_order_of_rows_their_cuts_and_the_memory_make_no_difference(rows, chance, cut, piece_rows, held_bytes):
    whole, repeats = ordered(rows, 60)
    shuffled = list(rows)
    chance.shuffle(shuffled)
    again, repeats_again = ordered(shuffled, cut, piece_rows=piece_rows, held_bytes=held_bytes)
    assert again.equals(whole)
    assert repeats == repeats_again == len(rows) - whole.height
    assert whole["ts_ms"].is_sorted()
    assert whole.height == frame(rows).unique().height


def test_pieces_are_bounded_even_where_all_rows_have_one_time():
    rows = [(7, f"e{number:03d}", 1.0) for number in range(100)]
    order = EventTimeOrder(piece_rows=10)
    order.add(frame(rows))
    assert [piece.height for piece in order.pieces()] == [10] * 10


def test_rows_that_must_meet_stay_together():
    order = EventTimeOrder(key="ts_ms", step=1, split_by=None, piece_rows=2)
    order.add(frame([(number % 3, f"e{number}", 1.0) for number in range(30)]))
    assert [piece["ts_ms"].unique().to_list() for piece in order.pieces()] == [[0], [1], [2]]


def test_only_the_user_may_look_and_nothing_stays(room):
    order = EventTimeOrder(held_bytes=1)
    order.add(frame([(1, "a", 1.0)]))
    (folder,) = room.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [piece.height for piece in order.pieces()] == [1]
    order.close()
    assert not list(room.iterdir())


def test_small_tables_never_touch_the_disk(room):
    order = EventTimeOrder()
    order.add(frame([(1, "a", 1.0)]))
    assert len(list(order.pieces())) == len(list(order.pieces())) == 1
    assert not list(room.iterdir())


def test_a_folder_that_was_cleared_is_one_line(room):
    order = EventTimeOrder(held_bytes=1)
    order.add(frame([(1, "a", 1.0)]))
    for run in room.rglob("*.parquet"):
        run.unlink()
    with pytest.raises(SourceError, match="TMPDIR"):
        list(order.pieces())
    order.close()


def test_no_room_is_one_line(monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    order = EventTimeOrder(held_bytes=1)
    with pytest.raises(SourceError, match="make room there"):
        order.add(frame([(1, "a", 1.0)]))
    order.close()
