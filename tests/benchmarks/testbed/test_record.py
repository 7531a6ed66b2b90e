"""A recording of a few seconds, by real processes: one harmless deployment, then the bad one."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.testbed.clock import now_ns
from benchmarks.testbed.look import table
from benchmarks.testbed.record import record
from benchmarks.testbed.recorder import Recorder
from benchmarks.testbed.timeline import Deployment, Timeline

SHORT = Timeline(Deployment(1.0, "inventory", "2.3.1"), Deployment(2.0, "payments", "1.5.0"), end_s=5.0)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recording")
    record(out, SHORT, rate_per_s=12.0, seed=3)
    return out


def read(recording: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(recording / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def test_the_head_names_five_inputs_that_exist_and_not_the_truth(recording: Path) -> None:
    head = json.loads((recording / "recording.json").read_text())
    assert (head["format"], head["version"], head["scope"]) == ("opsbrain-recording", 1, "demo")
    files = {one["file"] for one in head["inputs"]}
    assert len(files) == 5
    assert all((recording / name).stat().st_size > 100 for name in files)
    assert "truth.json" not in files


def test_the_truth_names_the_fault_within_the_recording(recording: Path) -> None:
    (fault,) = json.loads((recording / "truth.json").read_text())["faults"]
    assert fault["entity"] == "demo/service/shop/payments"
    ends_ms = [span["end_time_unix_nano"] // 10**6 for span in read(recording, "spans")]
    assert ends_ms[0] < fault["at_ms"] < ends_ms[-1]


def test_inputs_are_sorted_by_event_time(recording: Path) -> None:
    times = {
        "logs": [one["@timestamp"] for one in read(recording, "logs")],
        "metrics": [one["timestamp"] for one in read(recording, "metrics")],
        "spans": [one["end_time_unix_nano"] for one in read(recording, "spans")],
        "events": [one["lastTimestamp"] for one in read(recording, "events")],
        "objects": [one["observed_at"] for one in read(recording, "objects")],
    }
    assert {name for name, found in times.items() if found != sorted(found) or not found} == set()


def test_a_request_is_one_trace_through_all_services(recording: Path) -> None:
    spans = {span["span_id"]: span for span in read(recording, "spans")}
    assert len(spans) == sum(1 for _ in read(recording, "spans"))
    traces: dict[str, set[str]] = {}
    for span in spans.values():
        traces.setdefault(span["trace_id"], set()).add(span["resource"]["service.name"])
        parent = spans.get(span["parent_span_id"] or "")
        assert parent is None or parent["trace_id"] == span["trace_id"]
    assert {"gateway", "orders", "payments", "inventory", "store"} in traces.values()


def test_both_versions_of_payments_really_ran(recording: Path) -> None:
    pods = {
        s["resource"]["k8s.pod.name"] for s in read(recording, "spans") if s["resource"]["service.name"] == "payments"
    }
    assert len(pods) == 2
    lines = [one["log"] for one in read(recording, "logs")]
    assert any("payments 1.4.2 listening" in line for line in lines)
    assert any("payments 1.5.0 listening" in line for line in lines)
    assert any("INFO payments.chain entry" in line for line in lines)


def test_the_release_is_told_by_events_and_objects(recording: Path) -> None:
    reasons = {one["reason"] for one in read(recording, "events")}
    assert {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled", "Pulled", "Created", "Started", "Killing"} <= reasons
    payments = [
        one["object"]
        for one in read(recording, "objects")
        if one["object"]["kind"] == "Deployment" and one["object"]["metadata"]["name"] == "payments"
    ]
    images = [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in payments]
    assert images[0].endswith("payments:1.4.2")
    assert images[-1].endswith("payments:1.5.0")


def test_every_pod_is_scraped(recording: Path) -> None:
    seen = {(one["labels"].get("service"), one["name"]) for one in read(recording, "metrics")}
    for service in ("gateway", "orders", "payments", "inventory", "store"):
        assert (service, "process_resident_memory_bytes") in seen
    assert any(one["labels"].get("node") == "shop-node-1" for one in read(recording, "metrics"))


def test_no_line_names_a_folder_of_the_machine(recording: Path) -> None:
    project = str(Path(__file__).parents[3])
    with gzip.open(recording / "logs.jsonl.gz", "rt", encoding="utf-8") as lines:
        assert not [line for line in lines if project in line or "Traceback" in line]


def test_the_table_has_a_line_for_each_stretch(recording: Path) -> None:
    lines = table(recording, 2)
    assert len(lines) >= 4
    assert "payments" in lines[0]


def test_equal_messages_make_equal_files(tmp_path: Path) -> None:
    recorder, at_ns = Recorder(), now_ns()
    recorder.add("logs", at_ns + 1, {"log": "second"})
    recorder.add("logs", at_ns, {"log": "first"})
    recorder.add("logs", at_ns + 9, {"log": "after the end"})
    assert recorder.write(tmp_path / "a", "demo", 10_000, at_ns + 5)["logs"] == 2
    recorder.write(tmp_path / "b", "demo", 10_000, at_ns + 5)
    assert (tmp_path / "a/logs.jsonl.gz").read_bytes() == (tmp_path / "b/logs.jsonl.gz").read_bytes()
    assert [one["log"] for one in read(tmp_path / "a", "logs")] == ["first", "second"]
