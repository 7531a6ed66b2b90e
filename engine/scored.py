"""What detectors together think of the series of one time, as arrays; and as rows, of those that are worth telling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from engine.series_book import SeriesBook
from engine.types import Bools, Floats, Ints, Scores, Tick


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores of one time.

    series, value, tail_p : (N,)
        numbers in the book, what was observed, the fused tail probability (NaN where no detector was ready)
    each, ready
        what each detector found; (D, N) where it was ready
    """

    first: Tick
    series: Ints
    value: Floats
    tail_p: Floats
    each: tuple[Scores, ...]
    ready: Bools

    def rows(
        self, at: Ints, book: SeriesBook, names: Sequence[str], text: Callable[[str], str], window_ms: int
    ) -> pl.DataFrame:
        """Return the rows `at` as a frame, sorted by (entity, indicator, form).

        The band and direction shown are those of the detector that found the series strangest, or of the first that has
        a band; `detectors` names all whose own probability carries the fused one. `text` gives what is behind an
        indicator; `window_ms` is when all of it became known.
        """
        tails = np.where(self.ready[:, at], np.stack([one.tail_p[at] for one in self.each]), np.inf)
        ready, fused = self.ready[:, at], self.tail_p[at]
        best, rows = tails.argmin(axis=0), np.arange(len(at))
        lo, hi = (np.stack([getattr(one, name)[at] for one in self.each]) for name in ("expected_lo", "expected_hi"))
        band = np.where(np.isnan(lo[best, rows]), np.argmax(~np.isnan(lo), axis=0), best)
        carries = ready & (np.minimum(tails * np.maximum(ready.sum(axis=0), 1), 1.0) <= fused)
        named = book.names[self.series[at]].select("entity", "indicator", "form")
        return (
            named.with_columns(
                value=pl.Series(self.value[at]),
                tail_p=pl.Series(fused),
                direction=pl.Series(np.stack([one.direction[at] for one in self.each])[best, rows].astype(np.int8)),
                expected_lo=pl.Series(lo[band, rows]),
                expected_hi=pl.Series(hi[band, rows]),
                detectors=pl.Series(_names_of(carries, names), dtype=pl.String),
                text=_texts(named["indicator"], text),
            )
            .with_columns(
                scope=pl.col("entity").str.split("/").list.first(),
                resolution_ms=pl.lit(self.first.resolution_ms, pl.Int64),
                start_ms=pl.lit(self.first.start_ms, pl.Int64),
                end_ms=pl.lit(self.first.end_ms, pl.Int64),
                window_ms=pl.lit(window_ms, pl.Int64),
            )
            .sort("entity", "indicator", "form")
        )


def scored(ticks: Sequence[Tick], scores: Sequence[Sequence[Scores]], book: SeriesBook) -> Scored:
    """Return the scores of the ticks of one time, by tick and detector, as one."""
    each = tuple(_joined([one[detector] for one in scores]) for detector in range(len(scores[0])))
    fused, ready = fuse(each)
    return Scored(
        ticks[0],
        np.concatenate([book.numbers_in(tick.shard)[tick.series] for tick in ticks]),
        np.concatenate([tick.values for tick in ticks]),
        fused,
        each,
        ready,
    )


def fuse(scores: Sequence[Scores]) -> tuple[Floats, Bools]:
    """Return the fused tail probability of each series and the (D, N) mask of detectors that were ready.

    The smallest of D probabilities times D: the Bonferroni bound, valid however the detectors depend on each other.
    NaN where no detector was ready.
    """
    tails = np.stack([one.tail_p for one in scores])
    ready = ~np.isnan(tails)
    count = ready.sum(axis=0)
    lowest = np.where(ready, tails, np.inf).min(axis=0)
    return np.where(count > 0, np.minimum(lowest * np.maximum(count, 1), 1.0), np.nan), ready


def _joined(parts: Sequence[Scores]) -> Scores:
    return Scores(
        *(
            np.concatenate([getattr(one, name) for one in parts])
            for name in ("raw", "tail_p", "direction", "expected_lo", "expected_hi")
        )
    )


def _names_of(mask: Bools, names: Sequence[str]) -> list[str]:
    # few detectors, so few combinations: name each combination once
    codes = (mask * (1 << np.arange(len(names)))[:, None]).sum(axis=0)
    known = {code: ",".join(n for bit, n in enumerate(names) if code >> bit & 1) for code in np.unique(codes).tolist()}
    return [known[code] for code in codes.tolist()]


def _texts(indicators: pl.Series, text: Callable[[str], str]) -> pl.Series:
    """Return what is behind each indicator; of most there is nothing."""
    behind = indicators.str.starts_with("log.template.")
    if not behind.any():
        return pl.repeat("", len(indicators), dtype=pl.String, eager=True)
    return pl.Series([text(one) for one in indicators], dtype=pl.String)
