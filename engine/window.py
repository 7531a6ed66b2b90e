"""From rows to partials: the one step that knows about lateness.

Each input partition has its own step and its own watermark; whether a row is late is decided against the rows before it
in its own partition only, so it makes no difference how partitions interleave or how rows are cut into batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from engine.cardinality import EVERYTHING, SeriesLimit, SeriesLimitConfig
from engine.measures import Measures, coverage_of_numbered, partials_of_numbered
from engine.messages import CHANGES, FEATURES, LATE, SPANS, Message
from engine.numbered import Numbered, Rows, expanded
from engine.partials import alarms_of, partials_of, with_shard
from engine.repeats import Hashes, Seen, row_hashes, told_apart
from engine.schemas import Kind, empty
from engine.series_rows import SeriesRows
from engine.told_late import LateEvents, with_keys
from engine.types import END_MS, Bools, Coverage, Ints, Mark, Records, State

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """How rows become windows.

    resolution_ms   length of a window; windows start at multiples of it since the epoch
    lateness_ms     how far a row may lag behind the latest row of its partition before its window is closed without it
    future_ms       how far a row's time may lie after its message came in (live inputs); beyond it is a dead letter
    shards          number of logical shards; changing it later means starting with fresh state
    series          how many series an input's metrics may have
    told_late_ms    how old an event may be that is told when its window is out, and still counts in the oldest open
                    one: alerts are grouped and audit records collected before they are sent, and are news all the same
    """

    resolution_ms: int = 60_000
    lateness_ms: int = 5_000
    future_ms: int = 600_000
    shards: int = 64
    series: SeriesLimitConfig = field(default_factory=SeriesLimitConfig)
    told_late_ms: int = DAY_MS

    def resolution_of(self, kind: Kind) -> int:
        """Return the resolution of a kind: cost is daily, everything else has the base resolution."""
        return DAY_MS if kind == "costs" else self.resolution_ms


class WindowStep:
    """Cuts one input partition into windows and emits, for each closed one, partials, spans, changes and a mark.

    Holds the rows of open windows, so that repeats are recognised as long as their window is open (afterwards they are
    late). State is bounded by the rows of `lateness_ms` plus one window, and 20 bytes a known series. On Kafka nothing
    of it is saved: `resume_from` says what is out already, and rows are read again.

    counts      rows accepted, late and duplicate
    dropped     rows left out, by reason: what the format did not want, what the cardinality limit did not let in
    crowded     metrics over the limit, with their rows that were dropped
    """

    def __init__(
        self,
        config: WindowConfig,
        input: str,
        kind: Kind,
        resume: State | None = None,
        measures: Measures | None = None,
    ) -> None:
        """Begin, or go on from `resume`; inputs whose series have the same names may share `measures`."""
        self._config = config
        self._input = input
        self._kind: Kind = kind
        self.resolution_ms = config.resolution_of(kind)
        self._open: dict[int, list[Rows]] = {}
        self._series = SeriesRows(Measures(config.shards) if measures is None else measures)  # shared ones begin empty
        self._lowest_offset: dict[int, int] = {}
        self._latest_ms = -1
        self._emitted_ms = 0
        self._position = 0
        self._skip_before = 0
        self._told_late: frozenset[int] = frozenset()
        self._seen: dict[int, Seen] = {}
        self._refused: dict[int, Counter[str]] = {}  # by window: what the limit did not let in, by scope and metric
        self._late_events = LateEvents(config.told_late_ms, resume["late_events"] if resume else None)
        self._limit = SeriesLimit(config.series, resume["series"] if resume else None)
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.crowded: Counter[str] = Counter()
        self._said: set[str] = set()
        if resume:
            self._latest_ms, self._emitted_ms = resume["latest_ms"], resume["emitted_ms"]
            self._position = resume["position"]
            self._open = {int(start): [rows] for start, rows in resume["open"].items()}
            self._lowest_offset = {int(start): _least(rows["offset"]) for start, rows in resume["open"].items()}
            self.counts, self.dropped = Counter(resume["counts"]), Counter(resume["dropped"])
            self.crowded = Counter(resume["crowded"])
            self._said = set(self.crowded)
            for start in self._open:
                self._seen_in(start)
            self._refused = {int(start): Counter(told) for start, told in resume["refused"].items()}

    @classmethod
    def resume_from(
        cls,
        config: WindowConfig,
        input: str,
        kind: Kind,
        *,
        emitted_ms: int,
        latest_ms: int,
        position: int,
        told_late: Sequence[int] = (),
        measures: Measures | None = None,
    ) -> WindowStep:
        """Return a step that goes on after a crash: rows before `position` in windows already emitted are skipped.

        `told_late` are the keys that `told_late()` gave: of older rows that are in an open window all the same.
        """
        step = cls(config, input, kind, measures=measures)
        step._told_late = frozenset(told_late)
        step._emitted_ms, step._latest_ms, step._position, step._skip_before = emitted_ms, latest_ms, position, position
        return step

    def newly_crowded(self) -> list[str]:
        """Return the metrics that went over the limit since this was asked last, for whoever tells people."""
        new = sorted(self.crowded.keys() - self._said)
        self._said.update(new)
        return new

    @property
    def emitted_ms(self) -> int:
        """Return the watermark that is out: every window that ends at or before it was emitted."""
        return self._emitted_ms

    @property
    def latest_ms(self) -> int:
        """Return the latest event time seen, or -1."""
        return self._latest_ms

    @property
    def position(self) -> int:
        """Return the offset of the next message."""
        return self._position

    def safe_offset(self) -> int:
        """Return the lowest offset of any row in an open window: where reading must start again after a crash."""
        return min((*self._lowest_offset.values(), self._position))

    def told_late(self) -> list[int]:
        """Return the keys (`engine.told_late`) of events that are older than the open window which they are in.

        There is one such window, the oldest: whatever is told late goes there.
        """
        return self._late_in(self._emitted_ms)

    def on_records(self, records: Records) -> list[Message]:
        """Take a batch; return the late rows and everything of the windows that it closes."""
        self._position = max(self._position, records.next_offset)
        if isinstance(records.frame, Numbered):
            return self._on_numbered(records.frame)
        rows = with_keys(records.frame) if self._kind == "events" else records.frame
        if self._skip_before:
            rows = self._skip_known(rows)
        if rows.is_empty():
            return []
        rows = rows.with_columns(_start=pl.col("ts_ms") // self.resolution_ms * self.resolution_ms)
        clock = rows["_clock" if "_clock" in rows.columns else "ts_ms"]  # `_clock`: see engine.skew
        rows = rows.drop("_clock", strict=False)
        before = clock.cum_max().shift(1, fill_value=-1).clip(lower_bound=self._latest_ms)
        closed = before - self._config.lateness_ms
        is_late = (rows["_start"] + self.resolution_ms <= closed) | (
            rows["_start"] + self.resolution_ms <= self._emitted_ms
        )
        if self._kind == "events" and is_late.any():
            rows, is_late = self._tell_late(rows, closed, is_late)
        late = rows.filter(is_late)
        wanted = self._admitted(rows.filter(~is_late), closed.filter(~is_late))
        for (start,), part in wanted.partition_by("_start", as_dict=True, maintain_order=True).items():
            self._hold(int(start), part.drop("_start"))
        self._latest_ms = max(self._latest_ms, _greatest(clock))
        messages = self._late(late.drop("_start", "_key", strict=False))
        return messages + self._close(self._latest_ms - self._config.lateness_ms)

    def _on_numbered(self, rows: Numbered) -> list[Message]:
        """Take numbered rows as `on_records` takes others, without a look at what is as it should be."""
        if self._skip_before:
            rows = self._skip_known_numbered(rows)
        if not rows.height:
            return []
        times = rows.frame["ts_ms"].to_numpy()
        clock = rows.frame["_clock"].to_numpy() if "_clock" in rows.frame.columns else times
        ends = times - times % self.resolution_ms + self.resolution_ms
        latest = max(self._latest_ms, int(clock.max()))
        messages: list[Message] = []
        closed = np.empty(0, np.int64)
        if int(ends.min()) <= max(latest - self._config.lateness_ms, self._emitted_ms) or self._limit.ages(latest):
            before = np.maximum(np.maximum.accumulate(np.r_[np.int64(-1), clock[:-1]]), self._latest_ms)
            closed = before - self._config.lateness_ms
            late = ends <= np.maximum(closed, self._emitted_ms)
            messages = self._late(_without_clock(_where(rows, late)).expanded())
            rows, closed = _where(rows, ~late), closed[~late]
        self._hold_numbered(self._admitted_numbered(_without_clock(rows), closed))
        self._latest_ms = latest
        return messages + self._close(latest - self._config.lateness_ms)

    def _skip_known_numbered(self, rows: Numbered) -> Numbered:
        times = rows.frame["ts_ms"].to_numpy()
        ends = times - times % self.resolution_ms + self.resolution_ms
        return _where(rows, (rows.frame["offset"].to_numpy() >= self._skip_before) | (ends > self._emitted_ms))

    def _admitted_numbered(self, rows: Numbered, closed_ms: Ints) -> Numbered:
        """Return the rows whose series the limit lets in; it is asked again of all series when it may forget some.

        `closed_ms` is the watermark at each row, or empty where the limit forgets nothing.
        """
        if not self._series.follow(rows.names):
            for start in self._open:  # what was heard of these is known by other numbers
                self._seen_in(start)
        series = rows.frame["series"].to_numpy()
        if len(closed_ms) and self._limit.ages(int(closed_ms.max())):
            self._limit.heard(*self._series.spoke())
            self._series.admitted[:] = False
        passing = self._series.admitted[series]
        if passing.all():
            return rows
        unknown = np.flatnonzero(~passing)
        asked = Numbered(rows.frame[unknown], rows.names).expanded()
        asked = asked.with_columns(_start=pl.col("ts_ms") // self.resolution_ms * self.resolution_ms)
        closed = closed_ms[unknown] if len(closed_ms) else np.full(len(unknown), -1, np.int64)
        passing[unknown] = self._let_in(asked, closed)
        self._series.admitted[series[passing]] = True
        return _where(rows, passing)

    def _hold_numbered(self, rows: Numbered) -> None:
        """Keep the rows that are not there already, each in its window."""
        if not rows.height:
            return
        times = rows.frame["ts_ms"].to_numpy()
        new = self._series.advance(rows.frame["series"].to_numpy(), times)
        starts = times - times % self.resolution_ms
        for start in np.unique(starts).tolist():
            part = _where(rows, starts == start)
            if not new or start in self._seen:
                hashes = told_apart(
                    self._series.measures.identity[part.frame["series"].to_numpy()], part.frame["ts_ms"].to_numpy()
                )
                part = self._first_of(start, part, hashes)
            self._keep(start, part)

    def _first_of(self, start: int, rows: Numbered, hashes: Hashes) -> Numbered:
        fresh = self._seen_in(start).first(hashes)
        self.counts["duplicate"] += len(fresh) - int(fresh.sum())
        return _where(rows, fresh)

    def on_idle(self, time_ms: int) -> list[Message]:
        """Take an idle mark: the watermark becomes `time_ms`, and earlier rows that still come are late."""
        return self._close(time_ms)

    def on_end(self) -> list[Message]:
        """Take the end of a recorded input: everything closes."""
        return self._close(END_MS)

    def snapshot(self) -> State:
        """Return all state; open windows as frames."""
        self._limit.heard(*self._series.spoke())
        return {
            "version": 1,
            "latest_ms": self._latest_ms,
            "emitted_ms": self._emitted_ms,
            "position": self._position,
            "open": {str(start): _together(rows) for start, rows in sorted(self._open.items())},
            "counts": dict(self.counts),
            "dropped": dict(self.dropped),
            "crowded": dict(self.crowded),
            "refused": {str(start): dict(told) for start, told in sorted(self._refused.items())},
            "series": self._limit.snapshot(),
            "late_events": self._late_events.snapshot(),
        }

    def _tell_late(
        self, rows: pl.DataFrame, closed_ms: pl.Series, is_late: pl.Series
    ) -> tuple[pl.DataFrame, pl.Series]:
        """Put late events that are news into the oldest window that is open; return also which stay late."""
        if self._emitted_ms >= END_MS:
            return rows, is_late
        open_ms = (closed_ms // self.resolution_ms * self.resolution_ms).clip(lower_bound=self._emitted_ms)
        held = {start: self._late_in(start) for start in self._open}
        starts, late = self._late_events.place(rows, open_ms.to_numpy(), is_late.to_numpy(), self._seen, held)
        return rows.with_columns(pl.Series("_start", starts)), pl.Series(late)

    def _late_in(self, start: int) -> list[int]:
        if self._kind != "events":
            return []
        late = [expanded(rows).filter(pl.col("ts_ms") < start)["_key"] for rows in self._open.get(start, ())]
        return sorted(key for keys in late for key in keys)

    def _admitted(self, rows: pl.DataFrame, closed_ms: pl.Series) -> pl.DataFrame:
        """Return the rows whose series the limit lets in; count the others under their metric."""
        if self._kind != "metrics" or rows.is_empty():
            return rows
        mask = self._let_in(rows, closed_ms.to_numpy())
        return rows if mask.all() else rows.filter(pl.Series(mask))

    def _let_in(self, rows: pl.DataFrame, closed_ms: Ints) -> Bools:
        """Return which rows the limit lets in, by their series."""
        mask, dropped = self._limit.admit(rows, closed_ms)
        for metric, count in dropped.items():
            self.crowded[metric] += count
            self.dropped[f"label cardinality of {metric}"] += count
        if dropped:
            self._alarm(rows.filter(~pl.Series(mask)), dropped)
        return mask

    def _alarm(self, refused: pl.DataFrame, dropped: Mapping[str, int]) -> None:
        metric = pl.col("indicator").str.split("{").list.first()
        told = pl.when(metric.is_in(sorted(dropped))).then(metric).otherwise(pl.lit(EVERYTHING))
        named = pl.col("entity").str.split("/").list.first() + "/" + told
        for start, key, count in refused.group_by("_start", named).len().iter_rows():
            self._refused.setdefault(int(start), Counter())[key] += count

    def _hold(self, start: int, rows: pl.DataFrame) -> None:
        """Keep the rows of an open window that are not there already."""
        new = self._unseen(start, rows)
        if new.height < rows.height:
            self.counts["duplicate"] += rows.height - new.height
        self._keep(start, new)

    def _keep(self, start: int, new: Rows) -> None:
        if not new.height:
            return
        self.counts["accepted"] += new.height
        self._open.setdefault(start, []).append(new)
        lowest = _least((new.frame if isinstance(new, Numbered) else new)["offset"])
        self._lowest_offset[start] = min(lowest, self._lowest_offset.get(start, lowest))

    def _unseen(self, start: int, rows: pl.DataFrame) -> pl.DataFrame:
        known = rows["identity"] != 0
        if not known.any():
            return rows
        fresh = np.ones(rows.height, np.bool_)
        places = known.arg_true().to_numpy()
        fresh[places] = self._seen_in(start).first(row_hashes(rows.filter(known)))
        return rows if fresh.all() else rows.filter(pl.Series(fresh))

    def _seen_in(self, start: int) -> Seen:
        """Return what was seen in an open window; made of its rows where nobody had to know yet."""
        if start not in self._seen:
            seen = self._seen[start] = Seen()
            for rows in self._open.get(start, ()):
                held = expanded(rows)
                seen.first(row_hashes(held.filter(pl.col("identity") != 0)))
        return self._seen[start]

    def _skip_known(self, rows: pl.DataFrame) -> pl.DataFrame:
        end = pl.col("ts_ms") // self.resolution_ms * self.resolution_ms + self.resolution_ms
        wanted = (pl.col("offset") >= self._skip_before) | (end > self._emitted_ms)
        if self._told_late:
            wanted |= pl.col("_key").is_in(sorted(self._told_late))
        return rows.filter(wanted)

    def _late(self, late: pl.DataFrame) -> list[Message]:
        if late.is_empty():
            return []
        self.counts["late"] += late.height
        # one message an offset, so that its identity does not depend on how rows were cut into batches
        return [
            Message(LATE, f"{self._input}/{offset}", part)
            for (offset,), part in late.partition_by("offset", as_dict=True, maintain_order=True).items()
        ]

    def _close(self, up_to_ms: int) -> list[Message]:
        closed_ms = up_to_ms if up_to_ms >= END_MS else up_to_ms // self.resolution_ms * self.resolution_ms
        if closed_ms <= self._emitted_ms:
            return []
        messages: list[Message] = []
        known = self._open.keys() | self._refused.keys()  # of a window, all rows may have been over the limit
        for start in sorted(start for start in known if start + self.resolution_ms <= closed_ms):
            held = self._open.pop(start, [empty(self._kind)])
            self._lowest_offset.pop(start, None)
            self._seen.pop(start, None)
            coverage, said = self._out(start, held)
            messages += said + self._marks(start + self.resolution_ms, {start: coverage})
        return messages + self._marks(closed_ms, {})

    def _out(self, start: int, held: Sequence[Rows]) -> tuple[dict[str, Coverage], list[Message]]:
        """Return how much of a window its rows cover, and what is said of them."""
        if (numbered := self._all_numbered(held)) is not None:
            partials = partials_of_numbered(numbered, self._series.measures)
            return self._coverage_of_numbered(numbered), self._emit_partials(start, partials)
        rows = _together(held)
        if self._kind == "events":
            self._late_events.add(start, rows)
        return _coverage(self._kind, rows, start), self._emit(start, rows.drop("_key", strict=False))

    def _marks(self, closed_ms: int, windows: Mapping[int, Mapping[str, Coverage]]) -> list[Message]:
        """Say that all is out up to `closed_ms`: one mark a window, so that it is the same however many close."""
        if closed_ms <= self._emitted_ms:
            return []
        self._emitted_ms = closed_ms
        mark = Mark((self._input,), self.resolution_ms, closed_ms, windows)
        return [Message(stream, f"{self._input}/{closed_ms}", mark) for stream in (FEATURES, SPANS, CHANGES)]

    def _all_numbered(self, held: Sequence[Rows]) -> Numbered | None:
        """Return a window's rows as one if all of them are numbered by the names that are in use, else None."""
        parts = [one for one in held if isinstance(one, Numbered) and one.names.generation == self._series.generation]
        # the measures may be ahead of this input: another one that shares them was told new names first
        if len(parts) < len(held) or self._series.generation != self._series.measures.generation:
            return None
        return Numbered(pl.concat([one.frame for one in parts]), parts[-1].names)

    def _coverage_of_numbered(self, rows: Numbered) -> dict[str, Coverage]:
        told = coverage_of_numbered(rows, self._series.measures)
        return {f"{scope}/{self._kind}": Coverage(many, first, last) for scope, many, first, last in told}

    def _emit_partials(self, start: int, partials: pl.DataFrame) -> list[Message]:
        if refused := self._refused.pop(start, None):
            partials = pl.concat([partials, alarms_of(self._input, refused, self._config.shards)])
        if partials.is_empty():
            return []
        frame = partials.with_columns(
            input=pl.lit(self._input), start_ms=pl.lit(start, pl.Int64), resolution_ms=pl.lit(self.resolution_ms)
        )
        return [Message(FEATURES, f"{self._input}/{start}", frame)]

    def _emit(self, start: int, rows: pl.DataFrame) -> list[Message]:
        key = f"{self._input}/{start}"
        window = pl.lit(start, pl.Int64)
        messages = self._emit_partials(start, partials_of(self._kind, rows, self._config.shards))
        if self._kind == "spans":
            spans = rows.select("trace_id", "span_id", "parent_span_id", "entity", start_ms=window)
            messages.append(Message(SPANS, key, with_shard(spans, "trace_id", self._config.shards)))
        if self._kind in ("events", "objects"):
            messages += self._changes(start, rows)
        return messages

    def _changes(self, start: int, rows: pl.DataFrame) -> list[Message]:
        rows = rows.with_columns(
            scope=pl.col("entity").str.split("/").list.first(),
            start_ms=pl.lit(start, pl.Int64),
            input=pl.lit(self._input),
            kind=pl.lit(self._kind),
        )
        return [
            Message(CHANGES, f"{self._input}/{start}", part, scope=str(scope))
            for (scope,), part in sorted(rows.partition_by("scope", as_dict=True, maintain_order=True).items())
        ]


def _coverage(kind: Kind, rows: pl.DataFrame, start_ms: int) -> dict[str, Coverage]:
    """Return for each scope how much of the window its rows cover; what is told late stands at its beginning."""
    time = pl.col("ts_ms").clip(lower_bound=start_ms)
    scopes = rows.group_by(scope=pl.col("entity").str.split("/").list.first()).agg(
        pl.len(), first=time.min(), last=time.max()
    )
    return {f"{scope}/{kind}": Coverage(n, first, last) for scope, n, first, last in scopes.sort("scope").iter_rows()}


def _together(held: Sequence[Rows]) -> pl.DataFrame:
    return pl.concat([expanded(rows) for rows in held])


def _where(rows: Numbered, mask: Bools) -> Numbered:
    return rows if mask.all() else Numbered(rows.frame.filter(pl.Series(mask)), rows.names)


def _without_clock(rows: Numbered) -> Numbered:
    return Numbered(rows.frame.drop("_clock"), rows.names) if "_clock" in rows.frame.columns else rows


def _least(numbers: pl.Series) -> int:
    return int(numbers.to_numpy().min())


def _greatest(numbers: pl.Series) -> int:
    return int(numbers.to_numpy().max())
