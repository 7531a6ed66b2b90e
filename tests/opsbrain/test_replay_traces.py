"""Published traces through the whole pipeline: twice the same bytes, cut or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.generate_traces import GENERATORS, generate
from ingest.registry import source
from opsbrain.replaying import Conclusions, run_replay
from opsbrain.settings import Settings

TRACES = [*((name, "json") for name in sorted(GENERATORS)), ("borg-2019", "csv"), ("borg-2019", "parquet")]


def exported(concluded: Conclusions, folder: Path) -> dict[str, bytes]:
    concluded.export(folder)
    summary = json.loads((folder / "summary.json").read_text())
    del summary["run"]
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "summary.json"}
    return files | {"summary.json": json.dumps(summary).encode()}


@pytest.mark.parametrize(("name", "form"), TRACES, ids=[f"{name}-{form}" for name, form in TRACES])
def test_a_trace_replays_twice_with_identical_bytes_and_goes_on_after_a_stop(name, form, tmp_path):
    data = generate(name, tmp_path / "data", rows=600, instances=30, form=form)
    first = run_replay(Settings(), source(name, data))
    accounts = first.accounts
    assert accounts.accepted > 100 and accounts.late == 0 and accounts.dead_lettered == 0
    bytes_of_first = exported(first, tmp_path / "first")
    assert exported(run_replay(Settings(), source(name, data)), tmp_path / "again") == bytes_of_first

    cut = run_replay(Settings(), source(name, data), state=tmp_path / "state", stop_after=2)
    assert cut.accounts.accepted < accounts.accepted
    whole = run_replay(Settings(), source(name, data), state=tmp_path / "state")
    assert whole.accounts == accounts
    assert exported(whole, tmp_path / "resumed") == bytes_of_first


def test_bad_rows_are_dead_letters_of_the_replay(tmp_path):
    data = generate("borg-2011", tmp_path / "data", packed=False)
    part = data / "task_usage" / "part-00000-of-00002.csv"
    part.write_bytes(b"what is this\n" + part.read_bytes() + b"600000000,x\n")
    concluded = run_replay(Settings(), source("borg-2011", data), state=tmp_path / "state")
    assert concluded.accounts.dead_lettered == 2 == len(concluded.dead_letters)
    last = part.read_bytes().count(b"\n")
    assert [one.reason for one in concluded.dead_letters] == [
        "task_usage/part-00000-of-00002.csv, row 1: 1 fields instead of 20",
        f"task_usage/part-00000-of-00002.csv, row {last}: 2 fields instead of 20",
    ]
