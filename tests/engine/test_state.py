"""State: bytes and back, checkpoints whole or not at all, damage noticed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.errors import StateMismatch
from engine.state_codec import decode_frame, decode_state, encode_frame, encode_state
from engine.store import MemoryStore, SqliteStore

STATE = {
    "version": 1,
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "f": pl.DataFrame({"x": ["a", None]}),
    "t": [1, "b", None],
}


def test_state_survives_the_round_trip() -> None:
    back = decode_state(encode_state(STATE))
    assert (back["a"] == STATE["a"]).all() and back["a"].dtype == np.float32
    assert back["f"].equals(STATE["f"])
    assert encode_state(back) == encode_state(STATE)


def test_objects_are_no_state() -> None:
    with pytest.raises(TypeError):
        encode_state({"version": 1, "o": object()})
    with pytest.raises(StateMismatch):
        decode_state(b"\x80not state")


def test_staged_parts_appear_together(tmp_path: Path) -> None:
    for store in (MemoryStore(), SqliteStore(tmp_path / "state.db")):
        store.stage("one", STATE)
        assert store.last() is None
        store.stage("two", {"version": 1})
        store.commit("7")
        assert store.last() == "7"
        assert sorted(store.load("7")) == ["one", "two"]


def test_damage_and_strangers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    store.stage("one", STATE)
    store.commit("1")
    store.close()
    db = sqlite3.connect(path)
    db.execute("UPDATE parts SET data = x'00'")
    db.commit()
    db.close()
    with pytest.raises(StateMismatch, match="damaged"):
        SqliteStore(path).load("1")
    (tmp_path / "other").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StateMismatch, match="not a state file"):
        SqliteStore(tmp_path / "other")


def test_equal_frames_have_equal_bytes_wherever_their_text_lies() -> None:
    names = pl.DataFrame({"entity": [f"east/service/shop/some-long-name-{n}" for n in range(100)]})
    at = np.random.default_rng(7).integers(0, 100, 600)
    pieces = pl.concat([decode_frame(encode_frame(names[:50])), decode_frame(encode_frame(names[50:]))])
    made = (names[at], pl.DataFrame({"entity": names["entity"][at].to_list()}), pieces[at], pieces.rechunk()[at])
    assert len({encode_frame(one) for one in made}) == 1
