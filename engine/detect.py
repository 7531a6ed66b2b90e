"""The detect step: closes windows, makes ticks, lets detectors score and then learn, and says what is strange.

It owns some logical shards. A shard's results depend on that shard's rows and on the declared inputs, never on which
other shards the same step owns, so it makes no difference how shards are spread over workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from engine.features import Features, coverage_share, merge
from engine.fit_schedule import FitSchedule
from engine.ids import content_id
from engine.messages import ANOMALIES, CONTEXT, HISTORY, Message
from engine.periods import Closed, PeriodsConfig
from engine.ports import Detector, DetectorConfig, LogTemplatesConfig
from engine.scored import Scored, scored
from engine.strangest import strangest
from engine.types import Coverage, Fit, Inputs, Ints, Mark, Scores, State, Tick
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
    periods             how periods of cost become known
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
    periods: PeriodsConfig = field(default_factory=PeriodsConfig)


class DetectStep:
    """Closes the windows of the shards it owns. State: open partials, and features and detectors by shard."""

    def __init__(self, config: DetectConfig, shards: Sequence[int], resume: State | None = None) -> None:
        self._config = config
        self._shards = tuple(sorted(shards))
        self._open: dict[tuple[int, int], dict[str, pl.DataFrame]] = {}
        self._coverage: dict[tuple[int, int], dict[str, dict[str, Coverage]]] = {}
        self._complete: dict[int, Completeness] = {}
        self._closed: dict[int, int] = {}
        self._features: dict[int, Features] = {}
        self._detectors: dict[tuple[int, int], list[Detector]] = {}
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

    def series_count(self) -> int:
        """Return how many series this step knows."""
        return sum(one.series_count() for one in self._features.values())

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
            "features": {str(resolution): one.snapshot() for resolution, one in sorted(self._features.items())},
            "detectors": {
                f"{resolution}/{shard}": {
                    config.name: one.snapshot() for config, one in zip(self._config.detectors, running, strict=True)
                }
                for (resolution, shard), running in sorted(self._detectors.items())
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
        for resolution, state in resume["features"].items():
            self._features[int(resolution)] = Features(self._config.templates, state, self._config.periods)
        for key, states in resume["detectors"].items():
            resolution, shard = (int(part) for part in key.split("/"))
            running = [one.build(self._config.seed, states[one.name]) for one in self._config.detectors]
            self._detectors[resolution, shard] = running
        self._fits = {_fit_key(fit[1], fit[0], fit[2]): Fit(*fit) for fit in resume["fits"]}
        self._scopes = tuple(resume["scopes"])
        self._needed = {int(resolution): list(needed) for resolution, needed in resume["needed"].items()}

    def _take_partials(self, frame: pl.DataFrame) -> None:
        resolution, start, input = frame.select("resolution_ms", "start_ms", "input").row(0)
        if start + resolution <= self._closed.get(resolution, 0):
            return  # sent again after a restart; this window is done
        mine = frame["shard"].is_in(self._shards)
        self._open.setdefault((resolution, start), {})[input] = frame if mine.all() else frame.filter(mine)

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
        closed = complete
        for start in sorted(start for (res, start) in self._coverage if res == resolution and start + res <= complete):
            if not self._fits_are_there(resolution, start):
                closed = start
                break
            messages += self._close(resolution, start)
            messages += self._marks(resolution, start + resolution, {start: {}})
        return messages + self._marks(resolution, closed, {})

    def _marks(self, resolution: int, closed: int, done: Mapping[int, Mapping[str, Coverage]]) -> list[Message]:
        """Say that all is out up to `closed`: one mark a window, so that it is the same however many close at once."""
        if closed <= self._closed.get(resolution, 0):
            return []
        self._closed[resolution] = closed
        producers = tuple(f"detect/{shard}" for shard in self._shards)
        mark = Mark(producers, resolution, closed, done)
        key = f"{producers[0]}+{len(producers)}/{resolution}/{closed}"
        # a mark on each stream: order holds within a stream only
        streams = (ANOMALIES, CONTEXT, HISTORY) if self._config.keep_history else (ANOMALIES, CONTEXT)
        return [Message(stream, key, mark) for stream in streams]

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
        merged = merge([parts[input] for input in sorted(parts)])
        if resolution not in self._features:
            self._features[resolution] = Features(self._config.templates, periods=self._config.periods)
        features = self._features[resolution]
        coverage = _coverage_by_kind(inputs, start, start + resolution)
        ticks = features.ticks(merged, start, resolution, coverage)
        messages = self._emit(self._scored(ticks, features), features, start) if ticks else []
        closed = features.close_periods(merged, start, resolution)
        return messages + (self._close_periods(closed, features, resolution, start) if closed else [])

    def _scored(self, ticks: Sequence[Tick], features: Features) -> Scored:
        """Return the scores of the ticks of one time; the detectors have learned from them then."""
        return scored(ticks, [self._score(tick) for tick in ticks], features.book)

    def _rows(self, found: Scored, at: Ints, features: Features, start: int) -> pl.DataFrame:
        names = [one.name for one in self._config.detectors]
        return found.rows(at, features.book, names, features.template_text, start)

    def _close_periods(self, closed: Closed, features: Features, resolution: int, start: int) -> list[Message]:
        """Score and learn the periods of cost that a window closed, oldest first; return what is to be said of them."""
        ticks = features.period_ticks(closed, resolution)
        frames = [
            self._rows(found, np.arange(len(found.series)), features, start)
            for found in (self._scored(one, features) for one in ticks)
        ]
        messages = self._emit_periods(with_news(pl.concat(frames), closed.fresh)) if frames else []
        if self._config.keep_history:
            messages += self._history_of_periods([*frames, revised_frame(closed.revised, resolution, start)])
        return messages

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
        for (res, _), detectors in sorted(self._detectors.items(), key=lambda item: item[0]):
            if res == resolution:
                for detector in detectors:
                    detector.adopt(fit)

    def _score(self, tick: Tick) -> list[Scores]:
        detectors = self._detectors_of(tick)
        scores = [detector.score(tick) for detector in detectors]
        for detector in detectors:
            detector.learn(tick)
        return scores

    def _detectors_of(self, tick: Tick) -> list[Detector]:
        key = (tick.resolution_ms, tick.shard)
        if key not in self._detectors:
            self._detectors[key] = [one.build(self._config.seed) for one in self._config.detectors]
            in_force = [fit for fit in self._fits.values() if fit.from_ms <= tick.start_ms and fit.state is not None]
            for fit in sorted(in_force, key=lambda one: (one.model, one.scope, one.until_ms)):
                for detector in self._detectors[key]:
                    detector.adopt(fit)
        return self._detectors[key]

    def _emit(self, found: Scored, features: Features, start: int) -> list[Message]:
        book = features.book
        scopes = book.scope[found.series]
        messages: list[Message] = []
        for code in sorted(np.unique(scopes).tolist(), key=book.scopes.__getitem__):
            mine = np.flatnonzero(scopes == code)
            scope = book.scopes[code]
            key = self._key(scope, found.first.resolution_ms, start)
            messages.append(Message(CONTEXT, key, self._context_of(found, mine, features, start), scope=scope))
            strange = mine[found.tail_p[mine] <= self._config.anomaly_tail_p]
            if len(strange):
                messages += self._anomalies(scope, key, self._rows(found, strange, features, start))
            if self._config.keep_history:
                messages.append(Message(HISTORY, key, self._rows(found, mine, features, start), scope=scope))
        return messages

    def _context_of(self, found: Scored, mine: Ints, features: Features, start: int) -> pl.DataFrame:
        """Return the strangest rows of each entity; `scored` is how many of its rows could be anomalies."""
        book, tail = features.book, found.tail_p[mine]
        series = found.series[mine]
        entity = book.entity[series]
        at = strangest(entity, tail, self._config.context_series, lambda: book.ranks()[series])
        tested = np.bincount(entity[~np.isnan(tail)], minlength=int(entity.max()) + 1)
        rows = self._rows(found, mine[at], features, start)
        tested_of = dict(zip(book.names[series[at]]["entity"], tested[entity[at]].tolist(), strict=True))
        return rows.with_columns(scored=rows["entity"].replace_strict(tested_of, return_dtype=pl.Int64))

    def _emit_periods(self, scored: pl.DataFrame) -> list[Message]:
        messages: list[Message] = []
        for scope, key, rows in self._by_scope(scored):
            context = self._context(rows).drop("news")
            messages.append(Message(CONTEXT, f"{key}/periods", context, scope=scope))
            messages += self._anomalies(scope, f"{key}/periods", rows.filter("news").drop("news"))
        return messages

    def _history_of_periods(self, frames: Sequence[pl.DataFrame]) -> list[Message]:
        """Return a message a period: whoever fits looks back on periods, however many one window told."""
        return [
            Message(HISTORY, f"{key}/{end_ms}", part.sort("entity"), scope=scope)
            for scope, key, rows in self._by_scope(pl.concat(frames))
            for (end_ms,), part in sorted(rows.partition_by("end_ms", as_dict=True).items(), key=lambda one: one[0])
        ]

    def _by_scope(self, scored: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
        """Yield each scope's rows of one window, with the key of what is said of them."""
        for (scope,), rows in sorted(scored.partition_by("scope", as_dict=True, maintain_order=True).items()):
            resolution, start = rows.select("resolution_ms", "window_ms").row(0)
            yield str(scope), self._key(str(scope), resolution, start), rows

    def _key(self, scope: str, resolution: int, start: int) -> str:
        # the step's first shard makes the key its own; what is in it is sorted by entity again by the receiver
        return f"{scope}/{resolution}/{start}/{self._shards[0]}"

    def _anomalies(self, scope: str, key: str, rows: pl.DataFrame) -> list[Message]:
        strange = rows.filter(pl.col("tail_p") <= self._config.anomaly_tail_p)
        return [] if strange.is_empty() else [Message(ANOMALIES, key, _identified(strange), scope=scope)]

    def _context(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the strangest rows of each entity and period; `scored` is how many of its rows could be anomalies."""
        tested = pl.col("tail_p").is_not_nan() & pl.col("news")
        rows = rows.with_columns(scored=tested.sum().over("entity").cast(pl.Int64))
        groups = rows.select(pl.struct("entity", "start_ms").rank("dense").cast(pl.Int64) - 1).to_series().to_numpy()
        tail = rows["tail_p"].to_numpy()
        at = strangest(groups, tail, self._config.context_series, lambda: np.arange(rows.height))
        return rows[at].sort("entity", "indicator", "form", "start_ms")


def _fit_key(model: str, scope: str, until_ms: int) -> str:
    return f"{model}/{scope}/{until_ms:020d}"


def _coverage_by_kind(inputs: Mapping[str, Mapping[str, Coverage]], start: int, end: int) -> dict[str, float]:
    by_kind: dict[str, list[Coverage]] = {}
    for _, kinds in sorted(inputs.items()):
        for kind, one in kinds.items():
            by_kind.setdefault(kind, []).append(one)
    return {kind: coverage_share(ones, start, end) for kind, ones in sorted(by_kind.items())}


def with_news(scored: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    """Return scored periods with `news`: whether they may raise anomalies."""
    key = ["entity", "end_ms"]
    return scored.join(fresh.select(*key, "news"), on=key, how="left", maintain_order="left")


def revised_frame(revised: pl.DataFrame, resolution: int, start: int) -> pl.DataFrame:
    """Return periods whose amounts correct history as rows of a scored frame that nobody scored."""
    unknown = pl.lit(float("nan"))
    return revised.select(
        "entity",
        indicator=pl.lit("cost.usd"),
        form=pl.lit("money"),
        value="amount",
        tail_p=unknown,
        direction=pl.lit(0, pl.Int8),
        expected_lo=unknown,
        expected_hi=unknown,
        detectors=pl.lit(""),
        text=pl.lit(""),
        scope=pl.col("entity").str.split("/").list.first(),
        resolution_ms=pl.lit(resolution, pl.Int64),
        start_ms=pl.col("end_ms") - resolution,
        end_ms="end_ms",
        window_ms=pl.lit(start, pl.Int64),
    )


def _identified(anomalies: pl.DataFrame) -> pl.DataFrame:
    parts = anomalies.select("entity", "indicator", "form", "start_ms", "end_ms").iter_rows()
    return anomalies.with_columns(id=pl.Series([content_id("anm", *one) for one in parts], dtype=pl.String))
