"""Numbers the scopes of entities, so that rows are told apart by scope without a look at names."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Codes = NDArray[np.int32]


class ScopeCodes:
    """Scopes by their codes, in `names`, in the order in which they came."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: list[str] = []

    def of(self, entities: pl.Series) -> Codes:
        """Return (N,) the code of each entity's scope, giving new scopes theirs in the order of their names."""
        scopes = entities.str.split("/").list.first()
        known = {name: code for code, name in enumerate(self.names)}
        for name in scopes.unique().sort():
            if name not in known:
                known[name] = len(self.names)
                self.names.append(name)
        return scopes.replace_strict(known, return_dtype=pl.Int32).to_numpy()
