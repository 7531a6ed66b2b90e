from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from engine.errors import SourceError
from engine.types import Phase
from engine.values import to_json
from opsbrain.export import newest, read_export, write_export
from tests.opsbrain.samples import NAN, ORDERS, T0, anomaly, dead_letter, fix, incident

ANOMALIES = [anomaly(), anomaly(ORDERS, observed=NAN), anomaly(at_ms=T0), anomaly(ORDERS, "error_ratio", text="äöü")]
INCIDENTS = [incident(1), incident(2), incident(3, Phase.RESOLVED), incident(1, id="inc-aa")]
FIXES = [fix(1), fix(2), fix(1, id="fix-aa")]
DEAD = [dead_letter(number) for number in (10, 9, 100)]


def export(folder: Path, seed: int = 0, run: float = 0.0, again: bool = False) -> Path:
    def shuffled(items: list) -> list:
        items = items * (2 if again else 1)
        random.Random(seed).shuffle(items)
        return items

    summary = {"run": {"seconds": run}, "accepted": 5}
    write_export(folder, shuffled(ANOMALIES), shuffled(INCIDENTS), shuffled(FIXES), shuffled(DEAD), summary)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_order_and_repeats_of_what_came_do_not_matter(tmp_path):
    first = files(export(tmp_path / "a"))
    assert sorted(first) == ["anomalies.parquet", "deadletters.jsonl", "fixes.jsonl", "incidents.jsonl", "summary.json"]
    for seed in range(1, 4):
        assert files(export(tmp_path / str(seed), seed, again=seed == 3)) == first


def test_only_run_may_differ(tmp_path):
    one, other = files(export(tmp_path / "a")), files(export(tmp_path / "b", run=3.5))
    assert {name for name in one if one[name] != other[name]} == {"summary.json"}
    left, right = json.loads(one["summary.json"]), json.loads(other["summary.json"])
    assert left.pop("run") != right.pop("run") and left == right


def test_what_was_written_is_read_back(tmp_path):
    back = read_export(export(tmp_path))
    assert sorted(map(to_json, back.anomalies)) == sorted(map(to_json, ANOMALIES))
    assert list(map(to_json, back.incidents)) == [to_json(one) for one in INCIDENTS[:3] + INCIDENTS[3:]]
    assert [(one.id, one.revision) for one in back.fixes] == [(FIXES[0].id, 1), (FIXES[0].id, 2), ("fix-aa", 1)]
    assert [one.offset for one in back.deadletters] == [9, 10, 100]
    assert back.summary["accepted"] == 5
    assert back.summary["counts"] == {
        "anomalies": 4,
        "incidents": 2,
        "incidents_by_phase": {"open": 1, "resolved": 1},
        "fixes": 2,
        "fixes_by_outcome": {"inconclusive": 2},
        "deadletters": 3,
    }


def test_missing_numbers_are_null_in_json_and_nan_when_read(tmp_path):
    folder = export(tmp_path)
    assert b"NaN" not in (folder / "incidents.jsonl").read_bytes()
    nan = [one for one in read_export(folder).anomalies if one.observed != one.observed]
    assert [one.entity for one in nan] == [ORDERS]


def test_an_empty_run_is_an_export_too(tmp_path):
    write_export(tmp_path, [], [], [], [], {})
    back = read_export(tmp_path)
    assert back.anomalies == back.incidents == back.fixes == back.deadletters == ()
    assert back.summary["counts"]["anomalies"] == 0


def test_the_newest_revision_wins():
    assert [(one.id, one.revision) for one in newest(INCIDENTS)] == [("inc-0123456789abcdef", 3), ("inc-aa", 1)]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"anomalies\.parquet: not found"):
        read_export(tmp_path)
    folder = export(tmp_path)
    (folder / "fixes.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(SourceError, match=r"fixes\.jsonl:1: not a line of an export: "):
        read_export(folder)
    (folder / "anomalies.parquet").write_text("PAR1 no")
    with pytest.raises(SourceError, match=r"anomalies\.parquet: not the anomalies"):
        read_export(folder)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot write the export"):
        export(tmp_path / "file")
