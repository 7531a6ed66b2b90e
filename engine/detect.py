"""The detect step: closes windows, makes ticks, lets detectors score and then learn, and says what is strange.

It owns some logical shards. A shard's results depend on that shard's rows and on the declared inputs, never on which
other shards the same step owns, so it makes no difference how shards are spread over workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.features import FeatureState, coverage_share, merge
from engine.fit_schedule import FitSchedule
from engine.ids import content_id
from engine.messages import ANOMALIES, CONTEXT, HISTORY, Message
from engine.ports import Detector, DetectorConfig, LogTemplatesConfig
from engine.types import Coverage, Fit, Floats, Inputs, Mark, Scores, State, Tick
from engine.watermark import Completeness


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """What the detect step needs to know.

    detectors           which ones run, in order
    templates           how log templates are mined
    shards              number of logical shards in all
    base_resolution_ms  the resolution of everything but cost
    anomaly_tail_p      a series is anomalous when its fused `tail_p` is at or below this
    context_series      how many of an entity's strangest series go along as evidence, anomalous or not
    fit_schedule        when models are fitted and from when they are used
    keep_history        emit every value with its band (for fitting, and for plots)
    seed                seed of every detector
    """

    detectors: tuple[DetectorConfig, ...]
    templates: LogTemplatesConfig
    fit_schedule: FitSchedule
    shards: int = 64
    base_resolution_ms: int = 60_000
    anomaly_tail_p: float = 1e-4
    context_series: int = 8
    keep_history: bool = False
    seed: int = 0


class _Shard:
    """One shard at one resolution: its features and its detectors."""

    def __init__(self, config: DetectConfig, shard: int, resume: State | None) -> None:
        self.features = FeatureState(shard, config.templates, resume["features"] if resume else None)
        self.detectors: list[Detector] = [
            one.build(config.seed, resume["detectors"][one.name] if resume else None) for one in config.detectors
        ]

    def snapshot(self, config: DetectConfig) -> State:
        named = zip(config.detectors, self.detectors, strict=True)
        return {"features": self.features.snapshot(), "detectors": {one.name: det.snapshot() for one, det in named}}


class DetectStep:
    """Closes the windows of the shards it owns. State: open partials, and features and detectors by shard."""

    def __init__(self, config: DetectConfig, shards: Sequence[int], resume: State | None = None) -> None:
        self._config = config
        self._shards = tuple(sorted(shards))
        self._open: dict[tuple[int, int], dict[str, pl.DataFrame]] = {}
        self._coverage: dict[tuple[int, int], dict[str, dict[str, Coverage]]] = {}
        self._complete: dict[int, Completeness] = {}
        self._closed: dict[int, int] = {}
        self._running: dict[tuple[int, int], _Shard] = {}
        self._fits: dict[str, Fit] = {}
        self._scopes: tuple[str, ...] = ()
        self._needed: dict[int, list[int]] = {}
        if resume:
            self._restore(resume)

    def on_message(self, message: Message) -> list[Message]:
        """Take a partial, a mark, the declared inputs or a fit; return everything of the windows that can now close."""
        payload = message.payload
        if isinstance(payload, pl.DataFrame):
            self._take_partials(payload)
            return []
        if isinstance(payload, Mark):
            self._take_mark(payload)
        elif isinstance(payload, Inputs):
            self._take_inputs(payload)
        elif isinstance(payload, Fit):
            self._fits[_fit_key(payload.model, payload.scope, payload.until_ms)] = payload
        return self._advance()

    def furthest_ms(self) -> int | None:
        """Return the furthest watermark any input has reached, or None."""
        return max((m for c in self._complete.values() if (m := c.furthest_ms()) is not None), default=None)

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 1,
            "shards": list(self._shards),
            "open": [
                {"resolution_ms": resolution, "start_ms": start, "input": input, "frame": frame}
                for (resolution, start), parts in sorted(self._open.items())
                for input, frame in sorted(parts.items())
            ],
            "coverage": [
                [resolution, start, input, kind, one.rows, one.first_ms, one.last_ms]
                for (resolution, start), inputs in sorted(self._coverage.items())
                for input, kinds in sorted(inputs.items())
                for kind, one in sorted(kinds.items())
            ],
            "complete": {str(resolution): one.snapshot() for resolution, one in sorted(self._complete.items())},
            "closed": {str(resolution): closed for resolution, closed in sorted(self._closed.items())},
            "running": {
                f"{resolution}/{shard}": one.snapshot(self._config)
                for (resolution, shard), one in sorted(self._running.items())
            },
            "fits": [
                [fit.scope, fit.model, fit.until_ms, fit.from_ms, fit.state, fit.sha256, fit.failure]
                for _, fit in sorted(self._fits.items())
            ],
            "scopes": list(self._scopes),
            "needed": {str(resolution): needed for resolution, needed in sorted(self._needed.items())},
        }

    def _restore(self, resume: State) -> None:
        for one in resume["open"]:
            self._open.setdefault((one["resolution_ms"], one["start_ms"]), {})[one["input"]] = one["frame"]
        for resolution, start, input, kind, *coverage in resume["coverage"]:
            self._coverage.setdefault((resolution, start), {}).setdefault(input, {})[kind] = Coverage(*coverage)
        self._complete = {int(resolution): Completeness(one) for resolution, one in resume["complete"].items()}
        self._closed = {int(resolution): closed for resolution, closed in resume["closed"].items()}
        for key, one in resume["running"].items():
            resolution, shard = (int(part) for part in key.split("/"))
            self._running[resolution, shard] = _Shard(self._config, shard, one)
        self._fits = {_fit_key(fit[1], fit[0], fit[2]): Fit(*fit) for fit in resume["fits"]}
        self._scopes = tuple(resume["scopes"])
        self._needed = {int(resolution): list(needed) for resolution, needed in resume["needed"].items()}

    def _take_partials(self, frame: pl.DataFrame) -> None:
        resolution, start, input = frame.select("resolution_ms", "start_ms", "input").row(0)
        if start + resolution <= self._closed.get(resolution, 0):
            return  # sent again after a restart; this window is done
        mine = frame.filter(pl.col("shard").is_in(self._shards))
        self._open.setdefault((resolution, start), {})[input] = mine

    def _take_mark(self, mark: Mark) -> None:
        self._complete.setdefault(mark.resolution_ms, Completeness()).advance(mark.producers, mark.watermark_ms)
        for start, kinds in mark.windows.items():
            if start + mark.resolution_ms > self._closed.get(mark.resolution_ms, 0):
                self._coverage.setdefault((mark.resolution_ms, start), {})[mark.producers[0]] = dict(kinds)

    def _take_inputs(self, inputs: Inputs) -> None:
        self._scopes = tuple(sorted({*self._scopes, *inputs.scopes}))
        for name, resolution in inputs.inputs.items():
            self._complete.setdefault(resolution, Completeness()).await_producers([name])

    def _advance(self) -> list[Message]:
        messages: list[Message] = []
        for resolution in sorted(self._complete):
            messages += self._advance_resolution(resolution)
        return messages

    def _advance_resolution(self, resolution: int) -> list[Message]:
        complete = self._complete[resolution].complete_up_to()
        if complete is None or complete <= self._closed.get(resolution, 0):
            return []
        messages: list[Message] = []
        done: dict[int, dict[str, Coverage]] = {}
        closed = complete
        for start in sorted(start for (res, start) in self._coverage if res == resolution and start + res <= complete):
            if not self._fits_are_there(resolution, start):
                closed = start
                break
            messages += self._close(resolution, start)
            done[start] = {}
        if closed <= self._closed.get(resolution, 0):
            return messages
        self._closed[resolution] = closed
        producers = tuple(f"detect/{shard}" for shard in self._shards)
        mark = Mark(producers, resolution, closed, done)
        key = f"{producers[0]}+{len(producers)}/{resolution}/{closed}"
        streams = (ANOMALIES, HISTORY) if self._config.keep_history else (ANOMALIES,)
        return messages + [Message(stream, key, mark) for stream in streams]

    def _fits_are_there(self, resolution: int, start: int) -> bool:
        schedule = self._config.fit_schedule
        needed = self._needed.setdefault(resolution, [])
        for until in needed:
            if schedule.in_force_from(until) <= start and not all(
                _fit_key(model, scope, until) in self._fits
                for model in self._models(resolution)
                for scope in self._scopes
            ):
                return False
        return True

    def _models(self, resolution: int) -> list[str]:
        base = resolution == self._config.base_resolution_ms
        fitters = [one.fitter() for one in self._config.detectors]
        return [one.name for one in fitters if one is not None and (one.resolution == "base") == base]

    def _close(self, resolution: int, start: int) -> list[Message]:
        parts = self._open.pop((resolution, start), {})
        inputs = self._coverage.pop((resolution, start))
        self._adopt_fits(resolution, start)
        if self._models(resolution):
            until = self._config.fit_schedule.next_fit(start)
            if until not in self._needed[resolution]:
                self._needed[resolution].append(until)
        merged = merge([parts[input] for input in sorted(parts)]) if parts else None
        by_shard = (
            {int(key[0]): part for key, part in merged.partition_by("shard", as_dict=True).items()}
            if merged is not None
            else {}
        )  # type: ignore[call-overload]
        coverage = _coverage_by_kind(inputs, start, start + resolution)
        outputs = [
            self._score(shard, resolution, start, by_shard.get(shard), coverage)
            for shard in self._shards
            if shard in by_shard or (resolution, shard) in self._running
        ]
        return self._emit(resolution, start, [one for one in outputs if one is not None])

    def _adopt_fits(self, resolution: int, start: int) -> None:
        schedule = self._config.fit_schedule
        due = [until for until in self._needed.get(resolution, []) if schedule.in_force_from(until) <= start]
        for until in due:
            self._needed[resolution].remove(until)
            for model in self._models(resolution):
                for scope in self._scopes:
                    fit = self._fits[_fit_key(model, scope, until)]
                    self._keep_only(fit)
                    if fit.state is not None:
                        self._hand_over(resolution, fit)

    def _keep_only(self, fit: Fit) -> None:
        # older models of the same name are never asked for again; shards born later adopt the newest
        for key in [key for key, one in self._fits.items() if (one.model, one.scope) == (fit.model, fit.scope)]:
            if self._fits[key].until_ms < fit.until_ms and fit.state is not None:
                del self._fits[key]

    def _hand_over(self, resolution: int, fit: Fit) -> None:
        for (res, _), shard in sorted(self._running.items(), key=lambda item: item[0]):
            if res == resolution:
                for detector in shard.detectors:
                    detector.adopt(fit)

    def _shard(self, resolution: int, shard: int, start: int) -> _Shard:
        running = self._running.get((resolution, shard))
        if running is None:
            running = self._running[resolution, shard] = _Shard(self._config, shard, None)
            in_force = [fit for fit in self._fits.values() if fit.from_ms <= start and fit.state is not None]
            for fit in sorted(in_force, key=lambda one: (one.model, one.scope, one.until_ms)):
                for detector in running.detectors:
                    detector.adopt(fit)
        return running

    def _score(
        self, shard: int, resolution: int, start: int, merged: pl.DataFrame | None, coverage: Mapping[str, float]
    ) -> pl.DataFrame | None:
        running = self._shard(resolution, shard, start)
        rows = merged if merged is not None else _NO_PARTIALS
        tick = running.features.tick(rows, start, resolution, coverage)
        if not len(tick.series):
            return None
        scores = [detector.score(tick) for detector in running.detectors]
        for detector in running.detectors:
            detector.learn(tick)
        return _scored_frame(tick, scores, [one.name for one in self._config.detectors], running.features)

    def _emit(self, resolution: int, start: int, frames: list[pl.DataFrame]) -> list[Message]:
        if not frames:
            return []
        scored = pl.concat(frames).with_columns(
            scope=pl.col("entity").str.split("/").list.first(),
            resolution_ms=pl.lit(resolution, pl.Int64),
            start_ms=pl.lit(start, pl.Int64),
            end_ms=pl.lit(start + resolution, pl.Int64),
        )
        messages: list[Message] = []
        for (scope,), part in sorted(scored.partition_by("scope", as_dict=True, maintain_order=True).items()):
            for (shard,), rows in sorted(part.partition_by("shard", as_dict=True, maintain_order=True).items()):
                key = f"{scope}/{resolution}/{start}/{shard}"
                messages.append(Message(CONTEXT, key, self._context(rows), scope=str(scope)))
                anomalies = _anomalies(rows.filter(pl.col("tail_p") <= self._config.anomaly_tail_p))
                if not anomalies.is_empty():
                    messages.append(Message(ANOMALIES, key, anomalies, scope=str(scope)))
                if self._config.keep_history:
                    messages.append(Message(HISTORY, key, rows, scope=str(scope)))
        return messages

    def _context(self, rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.with_columns(scored=pl.col("tail_p").is_not_nan().sum().over("entity").cast(pl.Int64))
        order = rows.sort(pl.col("tail_p").fill_nan(2.0), "entity", "indicator", maintain_order=True)
        return (
            order.group_by("entity", maintain_order=True).head(self._config.context_series).sort("entity", "indicator")
        )


def _fit_key(model: str, scope: str, until_ms: int) -> str:
    return f"{model}/{scope}/{until_ms:020d}"


def _coverage_by_kind(inputs: Mapping[str, Mapping[str, Coverage]], start: int, end: int) -> dict[str, float]:
    by_kind: dict[str, list[Coverage]] = {}
    for _, kinds in sorted(inputs.items()):
        for kind, one in kinds.items():
            by_kind.setdefault(kind, []).append(one)
    return {kind: coverage_share(ones, start, end) for kind, ones in sorted(by_kind.items())}


_NO_PARTIALS = pl.DataFrame(schema={"shard": pl.Int32, "entity": pl.String, "form": pl.String})


def fuse(scores: Sequence[Scores]) -> tuple[Floats, np.ndarray]:
    """Return the fused tail probability of each series and the (D, N) mask of detectors that were ready.

    The smallest of D probabilities times D: the Bonferroni bound, valid however the detectors depend on each other.
    NaN where no detector was ready.
    """
    tails = np.stack([one.tail_p for one in scores])
    ready = ~np.isnan(tails)
    count = ready.sum(axis=0)
    lowest = np.where(ready, tails, np.inf).min(axis=0)
    return np.where(count > 0, np.minimum(lowest * np.maximum(count, 1), 1.0), np.nan), ready


def _scored_frame(tick: Tick, scores: Sequence[Scores], names: Sequence[str], features: FeatureState) -> pl.DataFrame:
    fused, ready = fuse(scores)
    tails = np.stack([np.where(np.isnan(one.tail_p), np.inf, one.tail_p) for one in scores])
    best = tails.argmin(axis=0)
    pick = (best, np.arange(len(fused)))
    agree = (tails * np.maximum(ready.sum(axis=0), 1) <= np.nan_to_num(fused, nan=-1.0)) & ready
    lo, hi = (np.stack([getattr(one, name) for one in scores]) for name in ("expected_lo", "expected_hi"))
    band = np.where(
        np.isnan(lo[pick]), np.argmax(~np.isnan(lo), axis=0), best
    )  # the forest has no band: show one that has
    pick_band = (band, np.arange(len(fused)))
    series = [tick.index[number] for number in tick.series.tolist()]
    texts = [features.template_text(one.indicator) for one in series]
    return pl.DataFrame(
        {
            "shard": pl.Series([tick.shard] * len(fused), dtype=pl.Int32),
            "entity": [one.entity for one in series],
            "indicator": [one.indicator for one in series],
            "form": [one.form for one in series],
            "value": tick.values,
            "tail_p": fused,
            "direction": np.stack([one.direction for one in scores])[pick].astype(np.int8),
            "expected_lo": lo[pick_band],
            "expected_hi": hi[pick_band],
            "detectors": [
                ",".join(n for n, yes in zip(names, column, strict=True) if yes) for column in agree.T.tolist()
            ],
            "text": texts,
        },
        schema_overrides={"text": pl.String, "detectors": pl.String},
    ).sort("entity", "indicator")


def _anomalies(rows: pl.DataFrame) -> pl.DataFrame:
    ids = [
        content_id("anm", entity, indicator, form, start, end)
        for entity, indicator, form, start, end in rows.select(
            "entity", "indicator", "form", "start_ms", "end_ms"
        ).iter_rows()
    ]
    return rows.with_columns(id=pl.Series(ids, dtype=pl.String))
