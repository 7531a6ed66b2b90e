"""The page of a run covers what was concluded, whichever run concluded it."""

from __future__ import annotations

import polars as pl

from engine.runners.embedded import Accounts
from opsbrain.replaying import Conclusions
from opsbrain.reporting import view_of
from tests.opsbrain.samples import T0, anomaly, incident


def concluded(history: pl.DataFrame | None, **more: object) -> Conclusions:
    given = {"anomalies": (), "incidents": (), **more}
    return Conclusions(
        **given, fixes=(), dead_letters=(), accounts=Accounts(), history=history, resolution_ms=1, elapsed_s=1
    )  # type: ignore[arg-type]


def history(start_ms: int) -> pl.DataFrame:
    texts = {"entity": ["x"], "indicator": ["m"], "form": ["gauge"]}
    numbers = {"value": [1.0], "expected_lo": [0.0], "expected_hi": [2.0]}
    return pl.DataFrame(texts | {"start_ms": [start_ms], "end_ms": [start_ms + 60_000]} | numbers)


def test_a_resumed_run_begins_where_its_conclusions_begin():
    found = {"anomalies": (anomaly(),), "incidents": (incident(),)}
    whole = view_of(concluded(history(T0), **found), title="x")
    resumed = view_of(concluded(history(T0 + 600_000), **found), title="x")
    assert (whole.from_ms, whole.subtitle) == (T0, "")
    assert (resumed.from_ms, resumed.until_ms) == (T0 + 60_000, T0 + 660_000)
    assert "plots begin at 2023-11-14 22:23:20 UTC" in resumed.subtitle


def test_a_run_that_judged_nothing_does_not_say_all_is_well():
    view = view_of(concluded(None), title="x")
    assert view.calm == ("No incident", "No window was judged.") and view.until_ms == 0
