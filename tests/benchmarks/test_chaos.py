"""`bench chaos` without a broker: its input and its plan come from the seed, and its comparison sees what it must."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import polars as pl
import pytest

from benchmarks.chaos_compare import Difference, compare_exports, compare_notified
from benchmarks.chaos_plan import BROKER, KINDS, OUTAGE, POISON, plan
from benchmarks.chaos_poison import LARGEST_BYTES, poison
from benchmarks.chaos_shop import BEGIN_MS, CALM_WINDOWS, FORMAT_OF, WINDOW_MS, Shop
from engine.errors import ConfigError
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.notify.receiver import Received
from opsbrain.notify.signing import Check

CLEAN = {
    "incidents.jsonl": [{"id": "inc-1", "revision": 1}, {"id": "inc-1", "revision": 2}],
    "fixes.jsonl": [{"id": "fix-1", "revision": 1, "title": "scale out"}],
    "deadletters.jsonl": [{"input": "logs/0", "offset": 7, "part": 0}],
}


def test_a_window_depends_on_the_seed_and_its_number_alone() -> None:
    late = Shop(5, "east").window(CALM_WINDOWS + 40)
    shop = Shop(5, "east")
    assert [shop.window(number) for number in range(CALM_WINDOWS + 41)][-1] == late
    assert Shop(6, "east").window(CALM_WINDOWS + 40) != late


def test_a_window_holds_every_kind_in_order_and_its_formats_read_all_of_it() -> None:
    shop = Shop(5, "east")
    for number in (0, CALM_WINDOWS + 12, CALM_WINDOWS + 40):
        said = shop.window(number)
        assert [one.at_ms for one in said] == sorted(one.at_ms for one in said)
        for kind, name in FORMAT_OF.items():
            bodies = [one.body for one in said if one.kind == kind]
            decoded = format_of(name, Identity("east")).decode(bodies, range(len(bodies)), kind)
            assert bodies and not decoded.letters and decoded.rows.height == len(bodies)
        begin_ms = BEGIN_MS + number * WINDOW_MS
        assert all(begin_ms <= one.at_ms < begin_ms + WINDOW_MS for one in said)


def test_poison_fits_into_the_topics_and_no_format_raises_on_it() -> None:
    random = Random(3)
    bodies = [poison(random) for _ in range(60)]
    assert None in bodies and max(len(one or b"") for one in bodies) < LARGEST_BYTES
    small = [one or b"" for one in bodies if len(one or b"") < 100_000]
    for kind, name in FORMAT_OF.items():
        decoded = format_of(name, Identity("east")).decode(small, range(len(small)), kind)
        assert decoded.letters


def test_a_plan_comes_from_its_seed_and_has_every_kind_equally_often() -> None:
    rounds = plan(9, 50)
    assert rounds == plan(9, 50) != plan(10, 50)
    first = [one.faults[0].kind for one in rounds]
    assert {first.count(kind) for kind in KINDS} == {8}
    assert first.count(OUTAGE) == 2
    assert sum(len(one.faults) == 2 for one in rounds) == 8
    assert {fault.kind for one in plan(9, 12, [BROKER, POISON]) for fault in one.faults} == {BROKER, POISON}
    with pytest.raises(ConfigError, match="meteor"):
        plan(9, 5, ["meteor"])


def export(folder: Path, **files: list[dict[str, object]]) -> Path:
    folder.mkdir()
    for name, lines in {**CLEAN, **{f"{key}.jsonl": value for key, value in files.items()}}.items():
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in lines))
    pl.DataFrame({"id": ["a"], "tail_p": [0.5]}).write_parquet(folder / "anomalies.parquet")
    (folder / "summary.json").write_text(json.dumps({"counts": 4, "run": {"seconds": len(folder.name)}}))
    return folder


def test_equal_exports_have_no_difference(tmp_path: Path) -> None:
    found = Difference()
    counts = compare_exports(export(tmp_path / "calm"), export(tmp_path / "disturbed"), found)
    assert found.lines() == []
    assert counts == {"incidents": 2, "fixes": 1, "deadletters": 1, "anomalies": 1}


def test_what_is_lost_repeated_and_changed_is_said_by_identity(tmp_path: Path) -> None:
    found = Difference()
    disturbed = export(
        tmp_path / "disturbed",
        incidents=[{"id": "inc-1", "revision": 1}, {"id": "inc-2", "revision": 1}],
        fixes=[{"id": "fix-1", "revision": 1, "title": "restart"}] * 2,
    )
    compare_exports(export(tmp_path / "calm"), disturbed, found)
    assert found.lost == ["incident inc-1 2"]
    assert found.repeated == ["incident inc-2 1, only when disturbed", "fixes.jsonl: fix-1 1 stands there twice"]
    (changed,) = found.changed
    assert changed.startswith("fix fix-1 1") and "restart" in changed


def test_the_same_rows_in_other_bytes_are_a_change(tmp_path: Path) -> None:
    found = Difference()
    calm, disturbed = export(tmp_path / "calm"), export(tmp_path / "disturbed")
    pl.read_parquet(calm / "anomalies.parquet").write_parquet(disturbed / "anomalies.parquet", compression="snappy")
    compare_exports(calm, disturbed, found)
    assert found.lines() == ["changed: anomalies.parquet: the same content in other bytes"]


def notified(id: str, says: str = "it", key: str | None = None) -> Received:
    headers = {} if key == "" else {"idempotency-key": key or id}
    return Received("/", headers, json.dumps({"id": id, "says": says}).encode(), Check(True, ""))


def test_a_delivery_that_comes_again_under_its_key_is_no_difference() -> None:
    found = Difference()
    calm, disturbed = [notified("inc-1.1")], [notified("inc-1.1")] * 3
    counts = compare_notified(calm, disturbed, [("inc-1", 1)], found)
    assert found.lines() == []
    assert counts == {"notifications": 1, "delivered_again": 2}


def test_deliveries_that_are_missing_changed_or_beyond_recognition_are_differences() -> None:
    found = Difference()
    calm = [notified("inc-1.1"), notified("inc-2.1"), notified("inc-3.1")]
    disturbed = [notified("inc-1.1"), notified("inc-1.1", "other"), notified("inc-3.1", key="x"), notified("inc-3.1")]
    compare_notified(calm, disturbed, [("inc-1", 1), ("inc-2", 1)], found)
    assert found.lost == ["notification inc-2.1", "notification of incident inc-2 revision 1"]
    assert [one.partition(" was sent")[0] for one in found.changed] == ["notification inc-1.1 of the disturbed run"]
    assert "notification inc-3.1 of the disturbed run under the keys x and inc-3.1" in found.repeated
    compare_notified([notified("inc-1.1", key="")], [], [], found := Difference())
    assert found.repeated == ["1 notifications of the undisturbed run have no idempotency key to know a repeat by"]
