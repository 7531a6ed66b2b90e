"""From merged partials to ticks: everything becomes a series of an entity.

| from | series | form |
|---|---|---|
| gauges | their name: the mean of the window | gauge |
| counters, deltas | their name: increase per second between samples, resets counted, summed over instances | rate |
| logs | `log.severity.<severity>`, `log.template.<id>` | count |
| events | `event.<reason>` | count |
| spans, by entity | `span.rate`, `span.error_ratio`, `span.p{50,90,99}_ms` | rate, ratio, duration |
| spans, by operation | `span.p90_ms{<operation>}` | duration |
| cost | `cost.usd`: each period once, in their order (`engine.periods`) | money |

Counts and rates of spans are zero only where telemetry of their kind and scope spoke in the window and the series did
not; where it was silent as a whole there is no value at all, and where it spoke for part of the window they are scaled
to all of it. A counter's rate is its increase over the time between its samples, so a gap makes no spike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from engine.errors import StateMismatch
from engine.ids import scope_of
from engine.partials import BOUNDS_MS, PARTIALS
from engine.periods import TOLD, Closed, Periods, PeriodsConfig
from engine.ports import LogTemplates, LogTemplatesConfig
from engine.rates import COUNTERS, Rates
from engine.series_book import SeriesBook
from engine.types import Coverage, Floats, Ints, State, Tick

VERSION: Final = 3
QUANTILES: Final = (0.5, 0.9, 0.99)
SPEAKING_COVERAGE: Final = 0.25  # an input that covered less of a window has not spoken: its counts say nothing
EDGE_SPACINGS: Final = 20.0  # a silence at an edge of this many mean spacings is a gap of the input, not chance

_COUNT: Final = pl.Schema({"shard": pl.Int32, "entity": pl.String, "indicator": pl.String, "n": pl.Int64})
_KNOWN: Final = pl.Schema({"shard": pl.Int32, "entity": pl.String, "indicator": pl.String, "kind": pl.String})


@dataclass(frozen=True, slots=True)
class _Values:
    """Values (N,) of distinct series by their numbers, and of counts how often each was zero before it first came."""

    series: Ints
    value: Floats
    unseen: Ints

    @classmethod
    def of(cls, series: Ints, value: Floats, unseen: Ints | None = None) -> _Values:
        return cls(series, value, np.zeros(len(series), np.int64) if unseen is None else unseen)

    @classmethod
    def none(cls) -> _Values:
        return cls.of(np.empty(0, np.int64), np.empty(0))

    @classmethod
    def together(cls, parts: Sequence[_Values]) -> _Values:
        return cls(
            np.concatenate([one.series for one in parts]),
            np.concatenate([one.value for one in parts]),
            np.concatenate([one.unseen for one in parts]),
        )


class Features:
    """Makes the ticks of the shards of one step, all shards in one pass.

    What it remembers between windows: names, last counter samples, which counts exist, templates. Nothing of a shard
    depends on another one. Cost: a handful of frame operations a window; a series that is known by its key costs some
    arithmetic, any other one a dictionary look-up.
    """

    def __init__(
        self, templates: LogTemplatesConfig, resume: State | None = None, periods: PeriodsConfig | None = None
    ) -> None:
        if resume and resume.get("version") != VERSION:
            raise StateMismatch(f"features have version {resume.get('version')}, this program writes {VERSION}")
        self._templates: LogTemplates = templates.build(resume["templates"] if resume else None)
        self.book = SeriesBook(resume["series"] if resume else None)
        self._rates = Rates(self.book, resume["counters"] if resume else None)
        self._known: pl.DataFrame = resume["known"] if resume else _KNOWN.to_frame()
        self._callees: pl.DataFrame = resume["callees"] if resume else _KNOWN.to_frame().select("shard", "entity")
        self._spoken: dict[str, int] = dict(resume["spoken"]) if resume else {}
        self._born: dict[str, dict[str, int]] = {k: dict(v) for k, v in resume["born"].items()} if resume else {}
        self._periods = Periods(periods or PeriodsConfig(), resume["periods"] if resume else None)

    def series_count(self) -> int:
        """Return how many series there are by now."""
        return len(self.book)

    def template_text(self, indicator: str) -> str:
        """Return the text behind a `log.template.<id>` indicator, "" for any other."""
        prefix = "log.template."
        return self._templates.text(indicator[len(prefix) :]) if indicator.startswith(prefix) else ""

    def ticks(self, merged: Merged, start_ms: int, resolution_ms: int, coverage: Mapping[str, float]) -> list[Tick]:
        """Return one window's ticks by shard, from its merged partials; shards without any series have none.

        `coverage` gives for each `scope/kind` the share of the window it spoke in; what is not there was silent.
        """
        before = len(self.book)
        levels, rates = self._levels(merged.levels), _Values.of(*self._rates.of(merged.counters))
        if len(self.book) > before:
            self._bear(self.book.names["entity"][before:])
        values = [levels, rates]
        if not (merged.rest.is_empty() and self._known.is_empty() and self._callees.is_empty()):
            self._bear(merged.rest["entity"])
            forms = {str(form): part for (form,), part in merged.rest.partition_by("form", as_dict=True).items()}
            spans = self._spans(forms.get("spans"), forms.get("latency"), resolution_ms / 1000, coverage)
            values += [*(self._valued(one) for one in spans), self._valued(*self._counts(forms, coverage))]
        for kind, share in sorted(coverage.items()):
            if share >= SPEAKING_COVERAGE:
                self._spoken[kind] = self._spoken.get(kind, 0) + 1
        return self._ticks(_Values.together(values), start_ms, resolution_ms)

    def close_periods(self, merged: Merged, start_ms: int, resolution_ms: int) -> Closed | None:
        """Return the periods of cost that one window closed, from its merged partials, or None if there are none."""
        told = TOLD.to_frame()
        cost = merged.rest if merged.rest.is_empty() else merged.rest.filter(pl.col("form") == "cost")
        if not cost.is_empty():
            told = cost.select("shard", "entity", end_ms="bucket", amount="total", estimated=pl.col("n") > 0)
        return self._periods.close(told, start_ms, start_ms + resolution_ms)

    def period_ticks(self, closed: Closed, resolution_ms: int) -> Iterator[list[Tick]]:
        """Yield the ticks of each closed period by shard, in the order of the periods; a tick ends with its period."""
        for (end_ms,), rows in closed.fresh.group_by("end_ms", maintain_order=True):
            values = _valued(rows, "money", pl.col("amount"), "cost.usd")
            yield self._ticks(self._valued(values), int(end_ms) - resolution_ms, resolution_ms)

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": VERSION,
            "templates": self._templates.snapshot(),
            "series": self.book.saved(),
            "counters": self._rates.saved(),
            "known": self._known,
            "callees": self._callees,
            "spoken": dict(sorted(self._spoken.items())),
            "born": {entity: dict(born) for entity, born in sorted(self._born.items())},
            "periods": self._periods.snapshot(),
        }

    def _ticks(self, values: _Values, start_ms: int, resolution_ms: int) -> list[Tick]:
        """Return the ticks of values that have one a series, which become those of `numbers`."""
        order = self.book.in_shards(values.series)
        series, out, unseen = values.series[order], values.value[order], values.unseen[order]
        out.flags.writeable = False
        shards, places = self.book.shard[series], self.book.place[series]
        edges = np.flatnonzero(np.r_[True, shards[1:] != shards[:-1], True]) if len(shards) else np.zeros(1, np.int64)
        return [
            Tick(
                int(shards[begin]),
                resolution_ms,
                start_ms,
                start_ms + resolution_ms,
                self.book.index(int(shards[begin])),
                places[begin:end],
                out[begin:end],
                unseen[begin:end],
            )
            for begin, end in pairwise(edges.tolist())
        ]

    def _bear(self, entities: pl.Series) -> None:
        """Note of new entities how often their inputs have spoken before."""
        for entity in entities.unique().sort():
            if entity not in self._born:
                scope = f"{scope_of(entity)}/"
                self._born[entity] = {key: spoken for key, spoken in self._spoken.items() if key.startswith(scope)}

    def _levels(self, levels: pl.DataFrame) -> _Values:
        """Return the means of gauges; several rows of one series are of several inputs, and added in their order."""
        if levels.is_empty():
            return _Values.none()
        numbers = self.book.numbers_of(levels)
        counts = np.bincount(numbers, weights=levels["n"].to_numpy(), minlength=len(self.book))
        totals = np.bincount(numbers, weights=levels["total"].to_numpy(), minlength=len(self.book))
        present = np.flatnonzero(counts)
        return _Values.of(present, totals[present] / counts[present])

    def _valued(self, rows: pl.DataFrame, unseen: Ints | None = None) -> _Values:
        """Return the values of rows by their names."""
        return _Values.of(self.book.numbers_of(rows), rows["value"].to_numpy(), unseen)

    def _spans(
        self,
        spans: pl.DataFrame | None,
        latency: pl.DataFrame | None,
        seconds: float,
        coverage: Mapping[str, float],
    ) -> list[pl.DataFrame]:
        parts: list[pl.DataFrame] = []
        silent = self._callees
        if spans is not None and latency is not None:
            whole = (
                spans.group_by("shard", "entity").agg(pl.col("n").sum(), pl.col("total").sum()).sort("shard", "entity")
            )
            errors = whole.with_columns(ratio=_over(whole["total"], whole["n"]))
            parts.append(_valued(errors, "ratio", pl.col("ratio"), "span.error_ratio"))
            spoke = whole.with_columns(kind=pl.lit("spans")).with_columns(share=_share(coverage))
            spoke = spoke.filter(pl.col("share") >= SPEAKING_COVERAGE)
            rated = spoke.with_columns(rate=_over(spoke["n"], pl.Series(spoke["share"].to_numpy() * seconds)))
            parts.append(_valued(rated, "rate", pl.col("rate"), "span.rate"))
            parts += _latencies(latency)
            seen = whole.select("shard", "entity")
            silent = silent.join(seen, on="entity", how="anti")
            self._callees = pl.concat([self._callees, seen]).unique().sort("shard", "entity")
        silent = silent.with_columns(kind=pl.lit("spans")).with_columns(share=_share(coverage))
        silent = silent.filter(pl.col("share") >= SPEAKING_COVERAGE)
        return [*parts, _valued(silent, "rate", pl.lit(0.0), "span.rate")]

    def _counts(self, forms: Mapping[str, pl.DataFrame], coverage: Mapping[str, float]) -> tuple[pl.DataFrame, Ints]:
        """Return the values of all counts, zeros filled in, and for each how often it was zero before it first came."""
        plain = forms.get("count")
        parts = [_COUNT.to_frame()]
        parts += [plain.select("shard", "entity", "indicator", "n")] if plain is not None else []
        parts += self._template_counts(forms.get("signature"))
        speaks = pl.col("share") >= SPEAKING_COVERAGE
        counted = pl.concat(parts).with_columns(kind=_kind_of_count())
        counted = counted.with_columns(share=_share(coverage)).filter(speaks)
        keys = ["entity", "indicator"]
        new = counted.join(self._known, on=keys, how="anti").select("shard", *keys, "kind")
        self._known = pl.concat([self._known, new]).sort("shard", *keys)
        quiet = self._known.join(counted, on=keys, how="anti").with_columns(share=_share(coverage)).filter(speaks)
        values = pl.concat(
            [
                counted.select("shard", *keys, form=pl.lit("count"), value=_over(counted["n"], counted["share"])),
                quiet.select("shard", *keys, form=pl.lit("count"), value=pl.lit(0.0)),
            ]
        )
        before = {(entity, indicator): self._unseen(entity, kind) for _, entity, indicator, kind in new.iter_rows()}
        zeros = [before.get(key, 0) for key in values.select(keys).iter_rows()] if before else [0] * values.height
        return values, np.array(zeros, dtype=np.int64)

    def _unseen(self, entity: str, kind: str) -> int:
        key = f"{scope_of(entity)}/{kind}"
        return self._spoken.get(key, 0) - self._born[entity].get(key, 0)

    def _template_counts(self, signatures: pl.DataFrame | None) -> list[pl.DataFrame]:
        if signatures is None:
            return []
        rows = signatures.sort("entity", "indicator")
        indicators: list[str] = []
        for service, part in rows.group_by("entity", maintain_order=True):
            ids = self._templates.assign(str(service[0]), part["indicator"].to_list(), part["n"].to_list())
            indicators += [f"log.template.{one}" for one in ids]
        rows = rows.with_columns(indicator=pl.Series(indicators, dtype=pl.String))
        return [rows.group_by("shard", "entity", "indicator", maintain_order=True).agg(pl.col("n").sum())]


@dataclass(frozen=True, slots=True)
class Merged:
    """The partials of one window from all inputs.

    levels, counters    of gauges and of counters, those of one input after the other, in the order of the inputs' names
    rest                all others, those that differ only in their input merged; sorted by name
    """

    levels: pl.DataFrame
    counters: pl.DataFrame
    rest: pl.DataFrame


def merge(partials: Sequence[pl.DataFrame]) -> Merged:
    """Return one window's partials together.

    In the rest integers add up, and of a cost the word of the last input stays.
    """
    parts = sorted(partials, key=_input_of)
    forms = [{str(form): rows for (form,), rows in _by_form(part).items()} for part in parts]
    levels = [one["gauge"] for one in forms if "gauge" in one]
    counters = [one["counter"] for one in forms if "counter" in one]
    rest = [rows for one in forms for form, rows in one.items() if form not in ("gauge", "counter")]
    return Merged(
        pl.concat([one.select(_LEVELS) for one in levels]) if levels else _NO_LEVELS,
        pl.concat([one.select(_COUNTERS) for one in counters]) if counters else _NO_COUNTERS,
        _merged(rest) if rest else _NOTHING,
    )


def _input_of(part: pl.DataFrame) -> str:
    return "" if part.is_empty() else str(part.item(0, "input"))


def _by_form(part: pl.DataFrame) -> dict[tuple[object, ...], pl.DataFrame]:
    if not part.is_empty() and (part["form"] == "gauge").all():
        return {("gauge",): part}
    return part.partition_by("form", as_dict=True, maintain_order=True)


def _merged(partials: Sequence[pl.DataFrame]) -> pl.DataFrame:
    keys = ["shard", "entity", "form", "indicator", "instance", "bucket"]
    frame = pl.concat(partials).sort(*keys, "input", maintain_order=True)
    if frame["input"].n_unique() == 1:
        return frame.select(*keys, "n", "total")
    return frame.group_by(keys, maintain_order=True).agg(
        pl.col("n").sum(),
        # a fold, not a sum: its order is the order of the inputs' names whatever the engine does with groups
        pl.when(pl.col("form").first() == "cost")
        .then(pl.col("total").last())
        .otherwise(pl.col("total").cum_sum().last())
        .alias("total"),
    )


_LEVELS: Final = ["shard", "entity", "indicator", pl.lit("gauge").alias("form"), "key", "n", "total"]
_COUNTERS: Final = [*COUNTERS, "times", "samples"]
_NO_LEVELS: Final = PARTIALS.to_frame().select(_LEVELS)
_NO_COUNTERS: Final = PARTIALS.to_frame().select(_COUNTERS)
_NOTHING: Final = PARTIALS.to_frame().select("shard", "entity", "form", "indicator", "instance", "bucket", "n", "total")


def coverage_share(windows: Sequence[Coverage], start_ms: int, end_ms: int) -> float:
    """Return the share of a window in which an input of one kind spoke, judged from all its partitions together.

    An edge of the window counts as silent only when it is far longer than the rows' mean spacing.
    """
    rows = sum(one.rows for one in windows)
    first, last = min(one.first_ms for one in windows), max(one.last_ms for one in windows)
    if rows < 2:
        return 1.0
    patience_ms = EDGE_SPACINGS * (last - first) / (rows - 1)
    start = first if first - start_ms > patience_ms else start_ms
    end = last if end_ms - last > patience_ms else end_ms
    return max(end - start, 1) / (end_ms - start_ms)


def quantiles_ms(groups: Ints, buckets: Ints, counts: Ints, shares: Sequence[float]) -> Floats:
    """Return quantiles (G, len(shares)) of G histograms that lie one after the other, sorted by (group, bucket).

    `groups` numbers each row's histogram from 0 without gaps. Interpolated within a bucket. A histogram's quantiles are
    the same in any company: ranks are counted from its own beginning, and only whole numbers know of the others.
    """
    reached = np.cumsum(counts)
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    ends = np.r_[starts[1:], len(groups)] - 1
    base = reached[starts] - counts[starts]
    ranks = np.asarray(shares)[None, :] * (reached[ends] - base)[:, None]
    whole = base[:, None] + np.maximum(np.ceil(ranks).astype(np.int64), 1)
    at = np.clip(np.searchsorted(reached, whole, side="left"), starts[:, None], ends[:, None])
    inside = np.clip((ranks - (reached[at] - counts[at] - base[:, None])) / counts[at], 0.0, 1.0)
    lower, upper = BOUNDS_MS[buckets[at]], BOUNDS_MS[buckets[at] + 1]
    return np.asarray(lower + (upper - lower) * inside)


def _latencies(latency: pl.DataFrame) -> list[pl.DataFrame]:
    whole = latency.group_by("shard", "entity", "bucket").agg(pl.col("n").sum()).sort("shard", "entity", "bucket")
    entities, quantiles = _quantiles_of(whole, ["shard", "entity"], QUANTILES)
    parts = [
        _valued(
            entities.with_columns(q=quantiles[:, column]), "duration", pl.col("q"), f"span.p{round(share * 100)}_ms"
        )
        for column, share in enumerate(QUANTILES)
    ]
    by_operation = latency.sort("shard", "entity", "indicator", "bucket")
    operations, p90 = _quantiles_of(by_operation, ["shard", "entity", "indicator"], (0.9,))
    named = operations.with_columns(indicator=pl.format("span.p90_ms{{{}}}", "indicator"), q=p90[:, 0])
    return [*parts, _valued(named, "duration", pl.col("q"))]


def _quantiles_of(rows: pl.DataFrame, keys: list[str], shares: Sequence[float]) -> tuple[pl.DataFrame, Floats]:
    groups = rows.select(pl.struct(keys).rle_id().cast(pl.Int64))[:, 0].to_numpy()
    names = rows.select(keys).unique(maintain_order=True)
    return names, quantiles_ms(groups, rows["bucket"].to_numpy(), rows["n"].to_numpy(), shares)


def _valued(rows: pl.DataFrame, form: str, value: pl.Expr, indicator: str | None = None) -> pl.DataFrame:
    name = pl.col("indicator") if indicator is None else pl.lit(indicator)
    return rows.select("shard", "entity", indicator=name, form=pl.lit(form), value=value.cast(pl.Float64))


def _over(numerator: pl.Series, denominator: pl.Series | float) -> pl.Series:
    """Return the quotient, correctly rounded whatever the length: polars may multiply by 1/x where x is a scalar."""
    below = denominator.to_numpy() if isinstance(denominator, pl.Series) else denominator
    return pl.Series(numerator.to_numpy() / below, dtype=pl.Float64)


def _share(coverage: Mapping[str, float]) -> pl.Expr:
    """Return for rows with `entity` and `kind` the share of the window in which their scope and kind spoke."""
    key = pl.concat_str(pl.col("entity").str.split("/").list.first(), pl.lit("/"), pl.col("kind"))
    return key.replace_strict(dict(coverage), default=0.0, return_dtype=pl.Float64)


def _kind_of_count() -> pl.Expr:
    return pl.when(pl.col("indicator").str.starts_with("log.")).then(pl.lit("logs")).otherwise(pl.lit("events"))
