"""What the loaders of published traces share: entities, instants and events as expressions over columns.

The traces carry no labels that `ingest.identity` could look at, only hashes and numbers, so an entity is made of the
one name that each table gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from ingest.trace_sieve import Sieve

OUTSIDE: Final = "outside the trace window"
ROUTINE: Final = "routine state change"
_LONGEST_MS: Final = 10 * 365 * 86_400_000  # no trace is as long; what is later is damaged
_HASH_CHARS: Final = 12  # of a hash: enough to tell millions apart, and short enough to read
_HASHED: Final = r"^[0-9A-Za-z+/=_-]{40,}$"


def entity(scope: str, kind: str, name: pl.Expr, namespace: str = "-") -> pl.Expr:
    """Return entities `scope/kind/namespace/name`. Names keep what an id can hold; of a long hash its beginning."""
    return pl.lit(f"{scope}/{kind}/{namespace}/") + short(name)


def short(name: pl.Expr) -> pl.Expr:
    """Return names without what an id cannot hold; of a long hash its beginning."""
    cut = pl.when(name.str.contains(_HASHED)).then(name.str.head(_HASH_CHARS)).otherwise(name)
    return cut.str.replace_all(r"[/\s]", "_")


def timed(frame: pl.DataFrame, sieve: Sieve, column: str, per_ms: float, epoch_ms: int) -> pl.DataFrame:
    """Return the rows with `ts_ms`, of a column that counts from the trace's beginning; refuse what is no time.

    per_ms      how many of the column's units a millisecond has: 1000 for microseconds, 0.001 for seconds
    """
    time = pl.col(column)
    since_ms = time // int(per_ms) if per_ms >= 1 else (time * round(1 / per_ms)).round()
    frame = sieve.refuse(frame, ~time.is_between(0, int(_LONGEST_MS * per_ms)), f"{column} is not within the trace")
    return frame.with_columns(ts_ms=since_ms.cast(pl.Int64) + epoch_ms)


def named(code: pl.Expr, names: Mapping[int, str]) -> pl.Expr:
    """Return an enumeration's words in lower case, from numbers or from words themselves; null for unknown ones."""
    words = {str(number): word for number, word in names.items()} | {word: word for word in names.values()}
    return code.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String)


def camel(prefix: str, word: pl.Expr) -> pl.Expr:
    """Return `prefix` and a word as one reason: update_running becomes InstanceUpdateRunning."""
    return pl.lit(prefix) + word.str.to_titlecase().str.replace_all("_", "")


def told(**parts: pl.Expr) -> pl.Expr:
    """Return a message of those parts that are there: `collection 12, machine 7`."""
    said = [pl.lit(f"{name.replace('_', ' ')} ") + value.cast(pl.String) for name, value in parts.items()]
    return pl.concat_str(*said, separator=", ", ignore_nulls=True)


def events(
    frame: pl.DataFrame, who: pl.Expr, reason: pl.Expr, warning: pl.Expr, message: pl.Expr, uid: pl.Expr
) -> pl.DataFrame:
    """Return events, one a row."""
    return frame.select(
        "ts_ms",
        entity=who,
        reason=reason,
        type=pl.when(warning.fill_null(False)).then(pl.lit("Warning")).otherwise(pl.lit("Normal")),
        message=message.fill_null(""),
        count=pl.lit(1, pl.Int64),
        uid=uid.fill_null(""),
    )
