"""From merged partials to ticks: everything becomes a series of an entity.

| from | series | form |
|---|---|---|
| gauges | their name: the mean of the window | gauge |
| counters | their name: increase per second, resets counted as such, summed over instances | rate |
| logs | `log.severity.<severity>`, `log.template.<id>` | count |
| events | `event.<reason>` | count |
| spans | `span.rate`, `span.error_ratio`, `span.p50_ms`, `span.p90_ms`, `span.p99_ms`; `span.p90_ms{<operation>}` | rate, ratio, duration |
| cost | `cost.usd`: the newest period, once | money |

Counts and rates are zero only where their input spoke in the window and the series did not; where an input was silent as
a whole there is no value at all, and where it spoke for part of the window counts and rates are scaled to all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from engine.partials import bucket_bound_ms
from engine.ports import LogTemplates, LogTemplatesConfig
from engine.types import Coverage, Series, SeriesIndex, State, Tick

QUANTILES: Final = (0.5, 0.9, 0.99)
SPEAKING_COVERAGE: Final = 0.25  # an input that covered less of a window has not spoken: its counts say nothing
EDGE_SPACINGS: Final = (
    20.0  # a silence at a window's edge this many mean spacings long is a gap of the input, not chance
)

_KIND_OF_COUNT: Final = {"log.": "logs", "event.": "events"}


@dataclass(slots=True)
class _Known:
    """A count series' last word, for filling zeros."""

    number: int
    kind: str


class FeatureState:
    """What one shard remembers between windows: names, last counter samples, known counts, templates."""

    def __init__(self, shard: int, templates: LogTemplatesConfig, resume: State | None = None) -> None:
        self.shard = shard
        self._templates: LogTemplates = templates.build(resume["templates"] if resume else None)
        self.index = SeriesIndex([Series(*one) for one in resume["series"]] if resume else ())
        self._numbers = {_name(one): number for number, one in enumerate(self.index.all())}
        self._counters: dict[str, tuple[int, float]] = (
            {key: (int(last[0]), float(last[1])) for key, last in resume["counters"].items()} if resume else {}
        )
        self._counts: dict[int, str] = {int(n): kind for n, kind in resume["counts"].items()} if resume else {}
        self._spoken: dict[str, int] = dict(resume["spoken"]) if resume else {}
        self._born: dict[str, dict[str, int]] = {k: dict(v) for k, v in resume["born"].items()} if resume else {}
        self._rates: dict[str, int] = dict(resume["rates"]) if resume else {}
        self._cost_until: dict[str, int] = dict(resume["cost_until"]) if resume else {}

    def template_text(self, indicator: str) -> str:
        """Return the text behind a `log.template.<id>` indicator, "" for any other."""
        prefix = "log.template."
        return self._templates.text(indicator[len(prefix) :]) if indicator.startswith(prefix) else ""

    def tick(self, merged: pl.DataFrame, start_ms: int, resolution_ms: int, coverage: Mapping[str, float]) -> Tick:
        """Return the tick of one window from its merged partials (this shard's rows, sorted; may be empty).

        `coverage` gives for each kind the share of the window its inputs spoke in; a kind that is not there was silent.
        """
        values: dict[int, float] = {}
        zeros: dict[int, int] = {}
        by_form = {str(form): part for (form,), part in merged.partition_by("form", as_dict=True).items()}
        for entity in merged["entity"].unique().sort():
            self._born.setdefault(entity, dict(self._spoken))
        seconds = resolution_ms / 1000
        self._gauges(by_form.get("gauge"), values)
        self._counter_rates(by_form.get("counter"), values, seconds)
        self._span_features(by_form.get("spans"), by_form.get("latency"), values, seconds, coverage.get("spans"))
        self._count_features(self._all_counts(by_form), values, zeros, coverage)
        self._cost(by_form.get("cost"), values)
        for kind, share in sorted(coverage.items()):
            if share >= SPEAKING_COVERAGE:
                self._spoken[kind] = self._spoken.get(kind, 0) + 1
        numbers = np.array(sorted(values), dtype=np.int64)
        out = np.array([values[number] for number in numbers.tolist()], dtype=np.float64)
        out.flags.writeable = False
        unseen = np.array([zeros.get(number, 0) for number in numbers.tolist()], dtype=np.int64)
        return Tick(self.shard, resolution_ms, start_ms, start_ms + resolution_ms, self.index, numbers, out, unseen)

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 1,
            "templates": self._templates.snapshot(),
            "series": [[one.entity, one.indicator, one.form] for one in self.index.all()],
            "counters": {key: list(last) for key, last in sorted(self._counters.items())},
            "counts": {str(number): kind for number, kind in sorted(self._counts.items())},
            "spoken": dict(sorted(self._spoken.items())),
            "born": {entity: dict(born) for entity, born in sorted(self._born.items())},
            "rates": dict(sorted(self._rates.items())),
            "cost_until": dict(sorted(self._cost_until.items())),
        }

    def _number(self, entity: str, indicator: str, form: str) -> int:
        name = f"{entity}\0{indicator}\0{form}"
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = self.index.number(Series(entity, indicator, form))
        return number

    def _gauges(self, part: pl.DataFrame | None, values: dict[int, float]) -> None:
        if part is None:
            return
        means = part["total"].to_numpy() / part["n"].to_numpy()
        for entity, indicator, mean in zip(part["entity"], part["indicator"], means.tolist(), strict=True):
            values[self._number(entity, indicator, "gauge")] = mean

    def _counter_rates(self, part: pl.DataFrame | None, values: dict[int, float], seconds: float) -> None:
        if part is None:
            return
        increases: dict[tuple[str, str], float] = {}
        for entity, indicator, instance, times, samples in part.select(
            "entity", "indicator", "instance", "times", "samples"
        ).iter_rows():
            order = sorted(zip(times, samples, strict=True))
            key = f"{entity}\0{indicator}\0{instance}"
            last = self._counters.get(key)
            previous = last[1] if last is not None else order[0][1]
            steps = np.diff(np.array([previous, *(sample for _, sample in order)]))
            # after a reset the counter began again at 0: all of its new value is increase
            after = np.array([sample for _, sample in order])
            increase = float(np.where(steps >= 0, steps, after).sum())
            self._counters[key] = order[-1]
            if last is not None or len(order) > 1:
                increases[entity, indicator] = increases.get((entity, indicator), 0.0) + increase
        for (entity, indicator), increase in increases.items():
            values[self._number(entity, indicator, "rate")] = increase / seconds

    def _span_features(
        self,
        spans: pl.DataFrame | None,
        latency: pl.DataFrame | None,
        values: dict[int, float],
        seconds: float,
        coverage: float | None,
    ) -> None:
        spoke = coverage is not None and coverage >= SPEAKING_COVERAGE
        seen: set[str] = set()
        if spans is not None and latency is not None:
            whole = spans.group_by("entity").agg(pl.col("n").sum(), pl.col("total").sum()).sort("entity")
            for entity, n, errors in whole.iter_rows():
                seen.add(entity)
                values[self._number(entity, "span.error_ratio", "ratio")] = errors / n
                if spoke and coverage:
                    values[self._number(entity, "span.rate", "rate")] = n / seconds / coverage
                    self._rates[entity] = 1
            together = latency.group_by("entity", "bucket").agg(pl.col("n").sum()).sort("entity", "bucket")
            for (entity,), part in together.partition_by("entity", as_dict=True, maintain_order=True).items():
                for share, quantile in zip(QUANTILES, quantiles_ms(part, QUANTILES), strict=True):
                    values[self._number(entity, f"span.p{round(share * 100)}_ms", "duration")] = quantile
            for (entity, operation), part in (
                latency.sort("entity", "indicator", "bucket")
                .partition_by("entity", "indicator", as_dict=True, maintain_order=True)
                .items()
            ):
                (quantile,) = quantiles_ms(part, (0.9,))
                values[self._number(entity, f"span.p90_ms{{{operation}}}", "duration")] = quantile
        if spoke:
            for entity in sorted(self._rates.keys() - seen):
                values[self._number(entity, "span.rate", "rate")] = 0.0

    def _all_counts(self, by_form: Mapping[str, pl.DataFrame]) -> list[tuple[str, str, int]]:
        counts: list[tuple[str, str, int]] = []
        if (plain := by_form.get("count")) is not None:
            counts += plain.select("entity", "indicator", "n").iter_rows()
        if (signatures := by_form.get("signature")) is not None:
            counts += self._template_counts(signatures)
        return counts

    def _template_counts(self, signatures: pl.DataFrame) -> list[tuple[str, str, int]]:
        counts: dict[tuple[str, str], int] = {}
        for (service,), part in sorted(signatures.partition_by("entity", as_dict=True).items()):
            part = part.sort("indicator")
            lines = part["n"].to_list()
            ids = self._templates.assign(str(service), part["indicator"].to_list(), lines)
            for template, n in zip(ids, lines, strict=True):
                key = (str(service), f"log.template.{template}")
                counts[key] = counts.get(key, 0) + n
        return [(entity, indicator, n) for (entity, indicator), n in sorted(counts.items())]

    def _count_features(
        self,
        counts: Sequence[tuple[str, str, int]],
        values: dict[int, float],
        zeros: dict[int, int],
        coverage: Mapping[str, float],
    ) -> None:
        for entity, indicator, n in counts:
            kind = _kind_of(indicator)
            share = coverage.get(kind, 0.0)
            if share < SPEAKING_COVERAGE:
                continue
            number = self._number(entity, indicator, "count")
            if number not in self._counts:
                self._counts[number] = kind
                zeros[number] = self._spoken.get(kind, 0) - self._born[entity].get(kind, 0)
            values[number] = n / share
        for number, kind in self._counts.items():
            if number not in values and coverage.get(kind, 0.0) >= SPEAKING_COVERAGE:
                values[number] = 0.0

    def _cost(self, part: pl.DataFrame | None, values: dict[int, float]) -> None:
        if part is None:
            return
        for entity, period_ms, amount in part.sort("entity", "bucket").select("entity", "bucket", "total").iter_rows():
            # a period that was scored before is history: its revision must not move a window
            if period_ms > self._cost_until.get(entity, -1):
                self._cost_until[entity] = period_ms
                values[self._number(entity, "cost.usd", "money")] = amount


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
        pl.col("times").list.explode(),
        pl.col("samples").list.explode(),
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


def quantiles_ms(histogram: pl.DataFrame, shares: Sequence[float]) -> list[float]:
    """Return quantiles of a histogram (columns bucket, n; sorted by bucket), interpolated within a bucket on a log scale."""
    buckets, counts = histogram["bucket"].to_numpy(), histogram["n"].to_numpy()
    reached = np.cumsum(counts)
    ranks = np.array(shares) * reached[-1]
    at = np.minimum(np.searchsorted(reached, ranks, side="left"), len(buckets) - 1)
    inside = (ranks - (reached[at] - counts[at])) / counts[at]
    lower, upper = bucket_bound_ms(buckets[at]), bucket_bound_ms(buckets[at] + 1)
    return [float(one) for one in lower * (upper / lower) ** inside]


def _name(series: Series) -> str:
    return f"{series.entity}\0{series.indicator}\0{series.form}"


def _kind_of(indicator: str) -> str:
    return next(kind for prefix, kind in _KIND_OF_COUNT.items() if indicator.startswith(prefix))
