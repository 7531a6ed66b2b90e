"""The series of a step, numbered: who they are is said once, and everything else about them is an array by number.

A series has a number here, and one within its shard (`SeriesIndex`), which is what detectors know it by. Partials of
numbered rows name their series by a key: those are found without a look at any name.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from engine.repeats import Hashes, is_at
from engine.scope_codes import Codes, ScopeCodes
from engine.types import Ints, Series, SeriesIndex

_NAMES: Final = pl.Schema({"shard": pl.Int32(), "entity": pl.String(), "indicator": pl.String(), "form": pl.String()})
_PIECES: Final = 8  # a frame in more pieces than this is slow to look into


class SeriesBook:
    """All series of one step and resolution, in the order in which they came.

    shard, place, entity, scope : (N,)
        of each series its shard, its number there, and the codes of its entity and scope
    names
        one row a series: shard, entity, indicator, form
    Cost: some microseconds for a series that is new, one search in sorted numbers for one that is known by its key.
    """

    def __init__(self, saved: pl.DataFrame | None = None) -> None:
        self.names = _NAMES.to_frame()
        self.shard: Ints = np.empty(0, np.int64)
        self.place: Ints = np.empty(0, np.int64)
        self.entity: Ints = np.empty(0, np.int64)
        self.scope: Codes = np.empty(0, np.int32)
        self._scopes = ScopeCodes()
        self._indexes: dict[int, SeriesIndex] = {}
        self._numbers: dict[int, _Growing] = {}  # by shard: the number here of each of its series
        self._entities: dict[str, int] = {}
        self._by_name: dict[str, int] = {}
        self._keys: Hashes = np.empty(0, np.uint64)  # sorted
        self._keyed: Ints = np.empty(0, np.int64)  # the series of each
        self._key: Hashes = np.empty(0, np.uint64)
        self._ranks: Ints = np.empty(0, np.int64)
        self._order: Ints = np.empty(0, np.int64)
        if saved is not None:
            self._add(saved)

    @property
    def scopes(self) -> list[str]:
        """Return the scopes by their codes."""
        return self._scopes.names

    def __len__(self) -> int:
        return len(self.shard)

    def index(self, shard: int) -> SeriesIndex:
        """Return the series of a shard that has some."""
        return self._indexes[shard]

    def numbers_in(self, shard: int) -> Ints:
        """Return the numbers here of a shard's series, by their numbers there."""
        return self._numbers[shard].array()

    def numbers_of(self, rows: pl.DataFrame) -> Ints:
        """Return the number of each row's series, learning those that are new in the order of their names.

        `rows` have shard, entity, indicator, form, and may have `key`, which is 0 where there is none.
        """
        if "key" not in rows.columns:
            return self._named(rows, self._by_name)
        keys = rows["key"].to_numpy()
        found = self._find(keys)
        missing = np.flatnonzero(found < 0)
        if len(missing):
            unknown = rows[missing]
            found[missing] = self._named(unknown, self._by_name if (unknown["key"] == 0).any() else {})
            self._note(unknown["key"].to_numpy(), found[missing])
        return found

    def ranks(self) -> Ints:
        """Return (N,) where each series stands among all, by (entity, indicator, form); made when it is asked for."""
        if len(self._ranks) < len(self):
            order = self.names.with_row_index("_at").sort("entity", "indicator", "form")["_at"].to_numpy()
            self._ranks = np.empty(len(self), np.int64)
            self._ranks[order] = np.arange(len(self))
        return self._ranks

    def in_shards(self, numbers: Ints) -> Ints:
        """Return what sorts distinct `numbers` by shard and the number there."""
        if len(self._order) < len(self):
            self._order = np.lexsort((self.place, self.shard))
        at = np.full(len(self), -1, np.int64)
        at[numbers] = np.arange(len(numbers))
        places = at[self._order]
        return np.asarray(places[places >= 0])

    def saved(self) -> pl.DataFrame:
        """Return all state."""
        return self.names.with_columns(key=pl.Series(self._key, dtype=pl.UInt64))

    def _find(self, keys: Hashes) -> Ints:
        if not len(self._keys):
            return np.full(len(keys), -1, np.int64)
        places = np.searchsorted(self._keys, keys)
        known = is_at(self._keys, keys, places) & (keys != 0)
        return np.where(known, self._keyed[np.minimum(places, len(self._keys) - 1)], -1)

    def _named(self, rows: pl.DataFrame, known: dict[str, int]) -> Ints:
        """Return the number of each row's series by its names, which `known` remembers."""
        names = (rows["entity"] + "\0" + rows["indicator"] + "\0" + rows["form"]).to_list()
        new = sorted({name: row for row, name in enumerate(names) if name not in known}.items())
        if new:
            self._learn(rows[[row for _, row in new]], [name for name, _ in new], known)
        return np.fromiter((known[name] for name in names), np.int64, len(names))

    def _learn(self, rows: pl.DataFrame, names: list[str], known: dict[str, int]) -> None:
        """Learn series that `known` does not know; somebody else may have learned them before."""
        fresh: list[int] = []
        for at, (shard, *named) in enumerate(rows.select(_NAMES.names()).iter_rows()):
            place = self._indexes[shard].known(Series(*named)) if shard in self._indexes else None
            if place is None:
                known[names[at]] = len(self) + len(fresh)
                fresh.append(at)
            else:
                known[names[at]] = int(self._numbers[shard].array()[place])
        self._add(rows.select(_NAMES.names())[fresh].with_columns(key=pl.lit(0, pl.UInt64)))

    def _add(self, rows: pl.DataFrame) -> None:
        """Append series that are new."""
        first = len(self)
        places: list[int] = []
        entities: list[int] = []
        for number, (shard, entity, indicator, form) in enumerate(rows.select(_NAMES.names()).iter_rows(), first):
            places.append(self._indexes.setdefault(shard, SeriesIndex()).number(Series(entity, indicator, form)))
            self._numbers.setdefault(shard, _Growing()).append(number)
            entities.append(self._entities.setdefault(entity, len(self._entities)))
        self.names = self.names.vstack(rows.select(_NAMES.names()))
        if self.names.n_chunks() > _PIECES:
            self.names = self.names.rechunk()
        self.shard = np.concatenate([self.shard, rows["shard"].to_numpy().astype(np.int64)])
        self.place = np.concatenate([self.place, np.array(places, np.int64)])
        self.entity = np.concatenate([self.entity, np.array(entities, np.int64)])
        self.scope = np.concatenate([self.scope, self._scopes.of(rows["entity"])])
        self._key = np.concatenate([self._key, np.zeros(rows.height, np.uint64)])
        self._note(rows["key"].to_numpy(), np.arange(first, len(self)))

    def _note(self, keys: Hashes, numbers: Ints) -> None:
        """Remember the keys of series."""
        keyed = keys != 0
        self._key[numbers[keyed]] = keys[keyed]
        new, first = np.unique(keys[keyed], return_index=True)
        places = np.searchsorted(self._keys, new)
        fresh = ~is_at(self._keys, new, places)
        self._keys = np.insert(self._keys, places[fresh], new[fresh])
        self._keyed = np.insert(self._keyed, places[fresh], numbers[keyed][first[fresh]])


class _Growing:
    """Whole numbers as an array that is appended to."""

    __slots__ = ("_array", "_new")

    def __init__(self) -> None:
        self._array: Ints = np.empty(0, np.int64)
        self._new: list[int] = []

    def append(self, number: int) -> None:
        self._new.append(number)

    def array(self) -> Ints:
        if self._new:
            self._array = np.concatenate([self._array, np.array(self._new, np.int64)])
            self._new = []
        return self._array
