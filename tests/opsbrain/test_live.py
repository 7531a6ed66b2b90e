"""The live pipeline: crashes are items in a script, time is moved by hand, the journal replays to the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import StateMismatch
from engine.ports import Decoded
from engine.schemas import SCHEMAS, Kind, conform
from engine.store import SqliteStore
from engine.types import DeadLetter
from engine.values import to_json
from ingest.formats.aws_cost_explorer import AwsCostExplorer
from ingest.identity import Identity
from opsbrain.concluding import Conclusions
from opsbrain.journal import Journal
from opsbrain.journal_reader import IdleMark, JournalReader
from opsbrain.live import Input, Live, LiveConfig
from opsbrain.notify.outbox import Outbox
from opsbrain.segments import HEADER_BYTES, MAGIC
from opsbrain.store import Store
from tests.engine.parts import MINUTE_MS, config, telemetry

IDLE_MS = 30_000
T0 = 1_700_000_000_000
CONFIG = LiveConfig(config(), ("x",), idle_after_ms=IDLE_MS, checkpoint_ms=10 << 40)


@dataclass(frozen=True)
class RowFormat:
    """Rows as JSON objects; what is none becomes a dead letter."""

    kind: Kind
    name: str = "rows"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        rows, letters = [], []
        for body, offset in zip(bodies, offsets, strict=True):
            try:
                rows.append(json.loads(body) | {"offset": offset})
            except ValueError:
                letters.append(DeadLetter(input, offset, "no JSON", body.decode()))
        schema = {name: dtype for name, dtype in SCHEMAS[self.kind].items() if name != "identity"}
        return Decoded(conform(self.kind, pl.DataFrame(rows, schema=schema)), letters)


class Crash(Exception):
    """The process dies here."""


class World:
    """The disk and the clock, and a process on it that can die at any time."""

    def __init__(self, folder: Path, kinds: dict[str, Kind], config: LiveConfig = CONFIG) -> None:
        self.folder, self.kinds, self.config, self.now_ms = folder, kinds, config, T0
        self.drops = True
        self.start()

    def start(self) -> None:
        self.journals = {name: Journal(self.folder / "journal" / name, segment_bytes=20_000) for name in self.kinds}
        if not self.drops:
            for one in self.journals.values():
                one.drop_before = lambda offset: None  # type: ignore[method-assign]
        inputs = [Input(name, RowFormat(kind), self.journals[name]) for name, kind in self.kinds.items()]
        self.store = Store(self.folder)
        self.checkpoints = SqliteStore(self.folder / "checkpoint.sqlite")
        flush = Conclusions(self.store, Outbox(":memory:"), [], lambda: None)
        self.live = Live(self.config, inputs, self.checkpoints, flush, self.now_ms)

    def crash(self) -> None:
        self.live.close()
        self.store.close()
        self.checkpoints.close()
        for one in self.journals.values():
            one.close()
        self.start()

    def post(self, name: str, rows: Sequence[bytes]) -> None:
        if rows:
            self.journals[name].append(rows, self.now_ms)

    def drain(self) -> None:
        self.live.drain(self.now_ms)

    def silence(self) -> None:
        self.now_ms += IDLE_MS
        self.drain()

    def checkpoint_that_dies(self, at: str) -> None:
        """Die in a checkpoint: before it stages, before it commits, or before it drops."""

        def die(*_: object) -> None:
            raise Crash

        if at == "drop":
            for one in self.journals.values():
                one.drop_before = die  # type: ignore[method-assign]
        else:
            setattr(self.checkpoints, at, die)
        with pytest.raises(Crash):
            self.live.checkpoint(self.now_ms)
        self.crash()

    def concluded(self) -> bytes:
        everything = [
            self.store.incident_revisions(),
            sorted(self.store.anomalies(), key=lambda one: one.id),
            self.store.fix_revisions(),
            self.store.deadletters(),
        ]
        return to_json(everything)

    def counts(self, what: str) -> int:
        return sum(step.counts[what] for step in self.live._pipeline.windows.values())


def bodies(frame: pl.DataFrame) -> list[bytes]:
    return [json.dumps(row).encode() for row in frame.drop("offset").to_dicts()]


def everything(minutes: int = 14, fault_at: int = 9) -> dict[str, tuple[Kind, list[bytes]]]:
    return {
        name: (kind, bodies(frame.filter(pl.int_range(pl.len()) % 4 == 0)))
        for name, (kind, frame) in telemetry(minutes=minutes, fault_at=fault_at).items()
    }


ALL = everything()
KINDS: dict[str, Kind] = {name: kind for name, (kind, _) in ALL.items()}
SENT = sum(len(rows) for _, rows in ALL.values())


def chunks(parts: int) -> list[tuple[str, list[bytes]]]:
    """Return everything in posts of one input each, round robin, in time order within an input."""
    return [
        (name, rows[number * len(rows) // parts : (number + 1) * len(rows) // parts])
        for number in range(parts)
        for name, (_, rows) in ALL.items()
    ]


def straight(folder: Path) -> bytes:
    world = World(folder, KINDS)
    for name, rows in chunks(1):
        world.post(name, rows)
    world.silence()
    world.silence()
    world.live.checkpoint(world.now_ms)
    return world.concluded()


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> bytes:
    concluded = straight(tmp_path_factory.mktemp("straight"))
    assert b'"phase":"open"' in concluded
    return concluded


DEATHS: dict[str, Callable[[World], object]] = {
    "step": lambda world: world.live.step(world.now_ms),
    "drain": World.drain,
    "crash": World.crash,
    "checkpoint": lambda world: world.live.checkpoint(world.now_ms),
    "dies before staging": lambda world: world.checkpoint_that_dies("stage"),
    "dies before commit": lambda world: world.checkpoint_that_dies("commit"),
    "dies before dropping": lambda world: world.checkpoint_that_dies("drop"),
}


@pytest.mark.parametrize("death", [name for name in DEATHS if name not in ("step", "drain")])
def test_a_crash_anywhere_changes_nothing(tmp_path: Path, reference: bytes, death: str) -> None:
    world = World(tmp_path, KINDS)
    for number, (name, rows) in enumerate(chunks(6)):
        world.post(name, rows)
        world.live.step(world.now_ms)
        if number % 5 == 3:
            world.live.checkpoint(world.now_ms)
        if number % 4 == 2:
            DEATHS[death](world)
    world.silence()
    world.silence()
    world.crash()
    world.silence()
    world.silence()
    world.live.checkpoint(world.now_ms)
    assert world.concluded() == reference
    assert (world.counts("accepted"), world.counts("late")) == (SENT, 0)
    assert all(one.kept_bytes == len(MAGIC) for one in world.journals.values())


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(script=st.lists(st.sampled_from([*DEATHS, "silence"]), min_size=4, max_size=12))
def test_a_replay_of_the_journal_takes_the_same_turns(tmp_path_factory, script: list[str]) -> None:
    """Whatever happened, idle marks and the late rows they make included: the journal alone says the same again."""
    folder = tmp_path_factory.mktemp("any")
    world = World(folder, KINDS)
    world.drops = False
    world.crash()
    for (name, rows), action in zip(chunks(4), cycle(script), strict=False):
        world.post(name, rows)
        (DEATHS | {"silence": World.silence})[action](world)
    world.drain()
    world.live.checkpoint(world.now_ms)
    again = tmp_path_factory.mktemp("again")
    shutil.copytree(folder / "journal", again / "journal")
    replayed = World(again, KINDS)
    replayed.drain()
    replayed.live.checkpoint(replayed.now_ms)
    assert replayed.concluded() == world.concluded()
    assert replayed.counts("late") == world.counts("late")
    assert world.counts("accepted") + world.counts("late") == SENT


def gauge(ts_ms: int, value: float = 1.0) -> bytes:
    return json.dumps(
        {"ts_ms": ts_ms, "entity": "x/service/-/a", "indicator": "cpu", "instance": "", "form": "gauge", "value": value}
    ).encode()


TWO: dict[str, Kind] = {"a": "metrics", "b": "metrics"}


def marks(journal: Journal) -> list[IdleMark]:
    reader = JournalReader(journal, journal.first_offset)
    entries = iter(reader.read, None)
    return [one for one in entries if isinstance(one, IdleMark)]


def test_an_input_that_never_spoke_holds_windows_only_for_a_while(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.post("a", [gauge(minute * MINUTE_MS) for minute in range(5)])
    world.drain()
    world.now_ms += IDLE_MS - 1
    world.drain()
    detect = world.live._pipeline._steps["detect"]
    assert detect._closed == {} and marks(world.journals["b"]) == []
    world.now_ms += 1
    world.drain()
    assert detect._closed == {MINUTE_MS: 3 * MINUTE_MS}


def test_a_mark_is_never_beyond_what_others_have_said(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.post("a", [gauge(0), gauge(10 * MINUTE_MS)])
    world.silence()
    assert [one.time_ms for one in marks(world.journals["b"])] == [10 * MINUTE_MS - CONFIG.engine.window.lateness_ms]
    for _ in range(3):
        world.silence()
    assert len(marks(world.journals["b"])) == 1
    assert marks(world.journals["a"]) == []


def test_the_mark_is_on_disk_before_it_takes_effect(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.post("a", [gauge(0), gauge(10 * MINUTE_MS)])
    world.drain()
    world.now_ms += IDLE_MS
    world.live._mark_idle(world.now_ms)
    assert world.live._pipeline.windows["b"].emitted_ms == 0
    assert len(marks(world.journals["b"])) == 1
    world.crash()  # the clock's silence begins anew, but what was written stands
    world.drain()
    assert world.live._pipeline.windows["b"].emitted_ms == 9 * MINUTE_MS


def test_who_speaks_after_the_mark_is_late_and_counted(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.post("a", [gauge(0), gauge(10 * MINUTE_MS)])
    world.silence()
    world.post("b", [gauge(MINUTE_MS), gauge(10 * MINUTE_MS)])
    world.drain()
    assert (world.counts("accepted"), world.counts("late")) == (3, 1)


def test_after_a_restart_silence_is_counted_anew(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.post("a", [gauge(0)])
    world.post("b", [gauge(0)])
    world.drain()
    world.live.checkpoint(world.now_ms)
    world.now_ms += 3_600_000
    world.crash()
    world.post("a", [gauge(10 * MINUTE_MS)])
    world.drain()
    assert marks(world.journals["b"]) == []
    world.post("b", [gauge(5 * MINUTE_MS)])
    world.drain()
    assert world.counts("late") == 0


def test_checkpoints_come_by_the_clock_and_when_the_journal_fills(tmp_path: Path) -> None:
    world = World(tmp_path, TWO, replace(CONFIG, checkpoint_ms=10_000))
    world.post("a", [gauge(0)])
    world.drain()
    assert world.checkpoints.last() is None
    world.now_ms += 10_000
    world.drain()
    first = world.checkpoints.last()
    assert first is not None
    world.now_ms += 10_000
    world.drain()
    assert world.checkpoints.last() == first  # nothing new to save
    world.journals["a"]._max_bytes = 100
    world.journals["a"].append([b"x" * 60], 0)
    world.drain()
    assert world.checkpoints.last() != first
    assert not world.journals["a"].is_filling


def test_damage_in_the_journal_is_a_dead_letter_and_the_rest_is_used(tmp_path: Path) -> None:
    world = World(tmp_path, {"a": "metrics"})
    world.journals["a"]._segment_bytes = 10
    world.post("a", [gauge(0)])
    world.post("a", [gauge(1_000)])
    path = world.journals["a"].segment_of(0).path
    data = bytearray(path.read_bytes())
    data[len(MAGIC) + HEADER_BYTES] ^= 1
    path.write_bytes(data)
    world.drain()
    world.live.checkpoint(world.now_ms)
    (letter,) = world.store.deadletters()
    assert (letter.input, letter.offset) == ("a", 0) and "damaged: records 0 to 0" in letter.reason
    assert world.counts("accepted") == 1


def test_what_cannot_be_decoded_is_a_dead_letter(tmp_path: Path) -> None:
    world = World(tmp_path, {"a": "metrics"})
    world.post("a", [b"garbage", gauge(0)])
    world.drain()
    world.live.checkpoint(world.now_ms)
    world.crash()
    assert [one.body for one in world.store.deadletters()] == ["garbage"]
    assert world.live.positions == {"a": 2}


def test_changed_settings_are_refused_with_what_to_do(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.post("a", [gauge(0)])
    world.drain()
    world.live.checkpoint(world.now_ms)
    world.config = LiveConfig(config(shards=16), ("x",))
    with pytest.raises(StateMismatch, match="shards = 8, the settings now say 16; set it back"):
        world.crash()


def test_a_lost_journal_is_begun_anew_without_giving_an_offset_twice(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.post("a", [gauge(0), gauge(1_000)])
    world.drain()
    world.live.checkpoint(world.now_ms)
    shutil.rmtree(tmp_path / "journal")
    world.crash()
    world.post("a", [gauge(2_000)])
    world.drain()
    assert world.live.positions["a"] == 3
    assert world.counts("accepted") == 3


def test_a_cost_without_a_stamp_became_known_when_it_came(tmp_path: Path) -> None:
    answer = {
        "ResultsByTime": [
            {"TimePeriod": {"Start": "2023-11-13", "End": "2023-11-14"}, "Total": {"UnblendedCost": {"Amount": "3"}}}
        ]
    }
    journal = Journal(tmp_path / "costs")
    inputs = [Input("costs", AwsCostExplorer(Identity("x")), journal)]
    live = Live(CONFIG, inputs, SqliteStore(tmp_path / "c.sqlite"), lambda collected, now_ms: None, T0)
    for day in range(2):
        journal.append([json.dumps(answer).encode()], T0 + day * 86_400_000)
    live.drain(T0)
    window = live._pipeline.windows["costs"]
    assert (window.counts["accepted"], window.latest_ms) == (2, T0 + 86_400_000)


def test_an_input_whose_past_is_on_its_way_holds_windows_however_silent(tmp_path: Path) -> None:
    world = World(tmp_path, TWO)
    world.live._held = lambda name, now_ms: name == "b"
    world.post("a", [gauge(0), gauge(10 * MINUTE_MS)])
    world.silence()
    assert marks(world.journals["b"]) == []
    world.live._held = lambda name, now_ms: False
    world.silence()
    assert len(marks(world.journals["b"])) == 1
