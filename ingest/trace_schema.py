"""What a table of a published trace is: its names and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

Type = Literal["text", "integer", "number", "numbers"]

RAW: Final[dict[Type, Any]] = {
    "text": pl.String,
    "integer": pl.String,  # BigQuery writes whole numbers as text, so that none loses its last digits
    "number": pl.Float64,
    "numbers": pl.List(pl.Float64),
}
"""The types in which JSON is read."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is used.

    name        what it is called here
    type        "integer" whole; "number", where what is not finite becomes NaN; "numbers" a list of them; "text"
    needed      whether a row without it is refused
    path        how the publisher calls it, one name a level of nesting, when that is another name
    also        other names under which it is found at the top level
    """

    name: str
    type: Type = "text"
    needed: bool = False
    path: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names at the top level, the likeliest first."""
        path = self.path or (self.name,)
        return tuple(dict.fromkeys((".".join(path), "_".join(path), self.name, *self.also)))


@dataclass(frozen=True, slots=True)
class Table:
    """One table: the names that its files' names begin with, and its columns.

    order       the publisher's columns by position, for CSV files without a header; empty where they have one
    optional    how many of the last of them may be missing
    """

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    order: tuple[str, ...] = ()
    optional: int = 0
