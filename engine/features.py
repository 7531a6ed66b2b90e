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
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from engine.ids import scope_of
from engine.partials import BOUNDS_MS
from engine.periods import TOLD, Closed, Periods, PeriodsConfig
from engine.ports import LogTemplates, LogTemplatesConfig
from engine.types import Coverage, Floats, Ints, Series, SeriesIndex, State, Tick

QUANTILES: Final = (0.5, 0.9, 0.99)
SPEAKING_COVERAGE: Final = 0.25  # an input that covered less of a window has not spoken: its counts say nothing
EDGE_SPACINGS: Final = 20.0  # a silence at an edge of this many mean spacings is a gap of the input, not chance

_VALUE: Final = pl.Schema(
    {"shard": pl.Int32, "entity": pl.String, "indicator": pl.String, "form": pl.String, "value": pl.Float64}
)
_COUNTER: Final = pl.Schema(
    {"entity": pl.String, "indicator": pl.String, "instance": pl.String, "time": pl.Int64, "sample": pl.Float64}
)
_COUNT: Final = pl.Schema({"shard": pl.Int32, "entity": pl.String, "indicator": pl.String, "n": pl.Int64})
_KNOWN: Final = pl.Schema({"shard": pl.Int32, "entity": pl.String, "indicator": pl.String, "kind": pl.String})


class Features:
    """Makes the ticks of the shards of one step, all shards in one pass.

    What it remembers between windows: names, last counter samples, which counts exist, templates. Nothing of a shard
    depends on another one. Cost: a handful of frame operations a window, and one dictionary look-up a series.
    """

    def __init__(
        self, templates: LogTemplatesConfig, resume: State | None = None, periods: PeriodsConfig | None = None
    ) -> None:
        self._templates: LogTemplates = templates.build(resume["templates"] if resume else None)
        self._indexes: dict[int, SeriesIndex] = {}
        self._numbers: dict[str, int] = {}
        self._counters: pl.DataFrame = resume["counters"] if resume else _COUNTER.to_frame()
        self._known: pl.DataFrame = resume["known"] if resume else _KNOWN.to_frame()
        self._callees: pl.DataFrame = resume["callees"] if resume else _KNOWN.to_frame().select("shard", "entity")
        self._spoken: dict[str, int] = dict(resume["spoken"]) if resume else {}
        self._born: dict[str, dict[str, int]] = {k: dict(v) for k, v in resume["born"].items()} if resume else {}
        self._periods = Periods(periods or PeriodsConfig(), resume["periods"] if resume else None)
        for shard, series in resume["series"].items() if resume else ():
            index = self._indexes[int(shard)] = SeriesIndex([Series(*one) for one in series])
            self._numbers |= {_name(one.entity, one.indicator, one.form): n for n, one in enumerate(index.all())}

    def series_count(self) -> int:
        """Return how many series there are by now."""
        return sum(len(one) for one in self._indexes.values())

    def template_text(self, indicator: str) -> str:
        """Return the text behind a `log.template.<id>` indicator, "" for any other."""
        prefix = "log.template."
        return self._templates.text(indicator[len(prefix) :]) if indicator.startswith(prefix) else ""

    def ticks(
        self, merged: pl.DataFrame, start_ms: int, resolution_ms: int, coverage: Mapping[str, float]
    ) -> list[Tick]:
        """Return one window's ticks by shard, from its merged partials; shards without any series have none.

        `coverage` gives for each `scope/kind` the share of the window it spoke in; what is not there was silent.
        """
        for entity in merged["entity"].unique().sort():
            if entity not in self._born:
                scope = f"{scope_of(entity)}/"
                self._born[entity] = {key: spoken for key, spoken in self._spoken.items() if key.startswith(scope)}
        seconds = resolution_ms / 1000
        forms = {str(form): part for (form,), part in merged.partition_by("form", as_dict=True).items()}
        parts = [
            *self._gauges(forms.get("gauge")),
            *self._rates(forms.get("counter")),
            *self._spans(forms.get("spans"), forms.get("latency"), seconds, coverage),
        ]
        counted, zeros = self._counts(forms, coverage)
        values = pl.concat([_VALUE.to_frame(), *parts, counted])
        unseen = np.r_[np.zeros(values.height - counted.height, np.int64), zeros]
        for kind, share in sorted(coverage.items()):
            if share >= SPEAKING_COVERAGE:
                self._spoken[kind] = self._spoken.get(kind, 0) + 1
        return self._ticks(values, unseen, start_ms, resolution_ms)

    def close_periods(self, merged: pl.DataFrame, start_ms: int, resolution_ms: int) -> Closed | None:
        """Return the periods of cost that one window closed, from its merged partials, or None if there are none."""
        cost = merged.filter(pl.col("form") == "cost")
        told = TOLD.to_frame()
        if not cost.is_empty():
            told = cost.select("shard", "entity", end_ms="bucket", amount="total", estimated=pl.col("n") > 0)
        return self._periods.close(told, start_ms, start_ms + resolution_ms)

    def period_ticks(self, closed: Closed, resolution_ms: int) -> Iterator[list[Tick]]:
        """Yield the ticks of each closed period by shard, in the order of the periods; a tick ends with its period."""
        for (end_ms,), rows in closed.fresh.group_by("end_ms", maintain_order=True):
            values = _valued(rows, "money", pl.col("amount"), "cost.usd")
            yield self._ticks(values, np.zeros(values.height, np.int64), int(end_ms) - resolution_ms, resolution_ms)

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 2,
            "templates": self._templates.snapshot(),
            "series": {
                str(shard): [[one.entity, one.indicator, one.form] for one in index.all()]
                for shard, index in sorted(self._indexes.items())
            },
            "counters": self._counters,
            "known": self._known,
            "callees": self._callees,
            "spoken": dict(sorted(self._spoken.items())),
            "born": {entity: dict(born) for entity, born in sorted(self._born.items())},
            "periods": self._periods.snapshot(),
        }

    def _ticks(self, values: pl.DataFrame, unseen: Ints, start_ms: int, resolution_ms: int) -> list[Tick]:
        shards = values["shard"].to_numpy()
        numbers = self._numbered(values)
        order = np.lexsort((numbers, shards))
        shards, numbers, unseen = shards[order], numbers[order], unseen[order]
        out = values["value"].to_numpy()[order]
        out.flags.writeable = False
        edges = np.flatnonzero(np.r_[True, shards[1:] != shards[:-1], True]) if len(shards) else np.zeros(1, np.int64)
        end_ms = start_ms + resolution_ms
        return [
            Tick(
                int(shards[begin]),
                resolution_ms,
                start_ms,
                end_ms,
                self._indexes[int(shards[begin])],
                numbers[begin:end],
                out[begin:end],
                unseen[begin:end],
            )
            for begin, end in pairwise(edges.tolist())
        ]

    def _numbered(self, values: pl.DataFrame) -> Ints:
        """Return each row's series number within its shard, giving new series theirs in the order of their names."""
        names = (values["entity"] + "\0" + values["indicator"] + "\0" + values["form"]).to_list()
        known = self._numbers
        new = sorted((name, row) for row, name in enumerate(names) if name not in known)
        for name, row in new:
            shard, entity, indicator, form = values.select("shard", "entity", "indicator", "form").row(row)
            known[name] = self._indexes.setdefault(shard, SeriesIndex()).number(Series(entity, indicator, form))
        return np.fromiter((known[name] for name in names), np.int64, len(names))

    def _gauges(self, part: pl.DataFrame | None) -> list[pl.DataFrame]:
        if part is None:
            return []
        return [_valued(part.with_columns(mean=_over(part["total"], part["n"])), "gauge", pl.col("mean"))]

    def _rates(self, part: pl.DataFrame | None) -> list[pl.DataFrame]:
        if part is None:
            return []
        keys = ["entity", "indicator", "instance"]
        samples = part.select("shard", *keys, time="times", sample="samples").explode("time", "sample")
        last = self._counters.join(samples.select(*keys, "shard").unique(), on=keys, how="inner")
        together = pl.concat([last.select(samples.columns), samples]).sort(*keys, "time", "sample")
        step = pl.col("sample").diff().over(keys)
        together = together.with_columns(
            # after a reset the counter began again at 0: all of its new value is increase
            step=pl.when(step >= 0).then(step).otherwise(pl.col("sample")),
            elapsed_ms=pl.col("time").diff().over(keys),
        )
        ends = together.group_by(keys, maintain_order=True).last().select(_COUNTER.names())
        self._counters = pl.concat([self._counters.join(ends, on=keys, how="anti"), ends]).sort(keys)
        steps = together.filter(pl.col("elapsed_ms").is_not_null())
        # folds in row order, so that the bytes do not depend on how a sum is split over threads
        summed = steps.group_by("shard", *keys, maintain_order=True).agg(
            pl.col("step").cum_sum().last(), pl.col("elapsed_ms").sum()
        )
        summed = summed.filter(pl.col("elapsed_ms") > 0)
        rated = summed.with_columns(rate=_over(summed["step"], summed["elapsed_ms"] / 1000))
        whole = rated.group_by("shard", "entity", "indicator", maintain_order=True).agg(pl.col("rate").cum_sum().last())
        return [_valued(whole, "rate", pl.col("rate"))]

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


def merge(partials: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return one window's partials as one frame, sorted by (shard, entity, form, indicator, instance, bucket).

    Rows that differ only in their input are merged: integers add up, gauge sums are added in the order of the inputs'
    names, counters keep all samples, and of a cost the word of the last input stays.
    """
    keys = ["shard", "entity", "form", "indicator", "instance", "bucket"]
    frame = pl.concat(partials).sort(*keys, "input", maintain_order=True)
    if frame["input"].n_unique() == 1:
        return frame.drop("input", "start_ms", "resolution_ms")
    return frame.group_by(keys, maintain_order=True).agg(
        pl.col("n").sum(),
        # a fold, not a sum: its order is the order of the inputs' names whatever the engine does with groups
        pl.when(pl.col("form").first() == "cost")
        .then(pl.col("total").last())
        .otherwise(pl.col("total").cum_sum().last())
        .alias("total"),
        pl.col("times").list.explode(keep_nulls=False, empty_as_null=False),
        pl.col("samples").list.explode(keep_nulls=False, empty_as_null=False),
    )


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


def _name(entity: str, indicator: str, form: str) -> str:
    return f"{entity}\0{indicator}\0{form}"
