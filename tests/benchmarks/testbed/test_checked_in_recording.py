"""The demo's recording, as checked in: whole, small, schema-valid, and its truth lies where something happens."""

import gzip
import json
from pathlib import Path

import kubernetes_validate

RECORDING = Path(__file__).parents[3] / "opsbrain/recordings/checkout-lock"


def lines(name: str) -> list[dict]:
    with gzip.open(RECORDING / name, "rt", encoding="utf-8") as text:
        return [json.loads(line) for line in text]


def test_every_input_is_there_and_all_are_under_three_megabytes() -> None:
    head = json.loads((RECORDING / "recording.json").read_text())
    sizes = [(RECORDING / one["file"]).stat().st_size for one in head["inputs"]]
    assert len(sizes) == 5
    assert sum(sizes) < 3_000_000


def test_every_object_is_valid_strictly() -> None:
    seen = set()
    for line in lines("objects.jsonl.gz"):
        kubernetes_validate.validate(line["object"], "1.32", strict=True)
        seen.add(line["object"]["kind"])
    assert seen == {"Deployment", "ReplicaSet", "Pod", "Service", "ConfigMap", "Node"}


def test_orders_cannot_reach_payments_after_the_fault_and_never_before() -> None:
    (fault,) = json.loads((RECORDING / "truth.json").read_text())["faults"]
    failed = [one["@timestamp"] for one in lines("logs.jsonl.gz") if "call to payments failed" in one["log"]]
    assert len(failed) > 500
    assert 0 < failed[0] - fault["at_ms"] / 1000 < 30


def test_no_input_names_a_folder_of_the_machine_it_was_made_on() -> None:
    for path in sorted(RECORDING.glob("*.gz")):
        text = gzip.decompress(path.read_bytes())
        assert not [word for word in (b"Traceback", b"/site-packages", b"benchmarks/") if word in text], path.name
