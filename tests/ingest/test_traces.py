"""Published traces, in generated files of their exact schema: conformance, order, and what becomes of each table."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.generate_traces import GENERATORS, generate
from engine.errors import ConfigError, SourceError
from engine.ports import Source
from ingest import event_time_order, trace_files, trace_parquet, trace_source
from ingest.checks import SOURCE_CHECKS, Read, read
from ingest.event_time_order import EventTimeOrder
from ingest.registry import source
from tests.conftest import dataset

TRACES = [*((name, "json") for name in sorted(GENERATORS)), ("borg-2019", "csv"), ("borg-2019", "parquet")]
IDS = [f"{name}-{form}" for name, form in TRACES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Callable[[str, str], Path]:
    made: dict[tuple[str, str], Path] = {}

    def of(name: str, form: str = "json") -> Path:
        if (name, form) not in made:
            path = tmp_path_factory.mktemp(f"{name}-{form}")
            made[name, form] = generate(name, path, rows=400, instances=20, form=form)
        return made[name, form]

    return of


def everything(one: Source) -> dict[str, Read]:
    return {partition: read(one.open(partition)) for partition in sorted(one.partitions())}


def rows(one: Source, partition: str, **where: object) -> pl.DataFrame:
    frame = read(one.open(partition)).frame
    return frame.filter(pl.col(name) == value for name, value in where.items()) if where else frame


@pytest.mark.parametrize("check", SOURCE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "form"), TRACES, ids=IDS)
def test_every_trace_conforms(name, form, check, folder):
    check(lambda: source(name, folder(name, form)))


@pytest.mark.parametrize(("name", "form"), TRACES, ids=IDS)
def test_rows_come_in_event_time_order_and_all_are_accounted_for(name, form, folder):
    one = source(name, folder(name, form))
    for partition, got in everything(one).items():
        assert got.frame.height, partition
        assert got.frame["ts_ms"].is_sorted()
        assert got.frame["ts_ms"].min() > 1_000_000_000_000
        assert not got.letters
        assert got.frame["offset"].to_list() == list(range(got.frame.height))
    assert sum(reasons.get("exact repeat", 0) for reasons in one.dropped.values())


@pytest.mark.parametrize(("name", "form"), TRACES, ids=IDS)
def test_memory_and_the_names_of_files_make_no_difference(name, form, folder, tmp_path, monkeypatch):
    plain = everything(source(name, folder(name, form)))
    shutil.copytree(folder(name, form), tmp_path / "copy")
    for path in sorted((tmp_path / "copy").rglob("*_0.*")):
        path.rename(path.with_name(path.name.replace("_0.", "_9.")))
    monkeypatch.setattr(trace_source, "PIECE_ROWS", 50)
    monkeypatch.setattr(trace_source, "BATCH_ROWS", 64)
    monkeypatch.setattr(trace_files, "CHUNK_BYTES", 4_096)
    monkeypatch.setattr(trace_parquet, "SLICE_ROWS", 50)
    monkeypatch.setattr(event_time_order, "HELD_BYTES", 2_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    written: list[int] = []
    write = EventTimeOrder._write
    monkeypatch.setattr(EventTimeOrder, "_write", lambda self: written.append(1) or write(self))
    spilled = everything(source(name, tmp_path / "copy"))
    assert len(written) > 1
    assert {partition: got.frame.equals(plain[partition].frame) for partition, got in spilled.items()} == dict.fromkeys(
        plain, True
    )
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_trace_is_named_and_described(name, folder, tmp_path):
    one = source(name, folder(name))
    assert one.scopes == (name,)
    assert one.resolution_ms in (60_000, 300_000, 3_600_000)
    assert one.identity == source(name, folder(name)).identity
    with pytest.raises(ConfigError, match="--day"):
        source(name, folder(name), "2019-05-01")
    with pytest.raises(SourceError, match="has no nothing; it has"):
        one.open("nothing")
    with pytest.raises(SourceError, match="holds no file of this trace"):
        source(name, tmp_path)


def test_folders_go_when_reading_fails_or_ends_early(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(event_time_order, "HELD_BYTES", 10_000)
    one = source("borg-2019", folder("borg-2019"))
    reader = one.open("instance_usage")
    reader.next_batch()
    assert list(tmp_path.iterdir())
    reader.close()
    reader.close()
    assert not list(tmp_path.iterdir())

    def breaks(*_: object) -> None:
        raise SourceError("the disk is gone")

    monkeypatch.setattr(one, "load", breaks)
    with pytest.raises(SourceError):
        one.open("instance_usage")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
def test_borg_2019(folder, form):
    one = source("borg-2019", folder("borg-2019", form))
    usage = rows(one, "instance_usage")
    percentiles = {"cpu_usage_p50", "cpu_usage_p90", "cpu_usage_p99"} if form != "csv" else set()
    assert set(usage["indicator"]) == {
        *("average_usage_cpus", "average_usage_memory", "maximum_usage_cpus", "maximum_usage_memory"),
        *("assigned_memory", "page_cache_memory", "cycles_per_instruction", "memory_accesses_per_instruction"),
        *percentiles,
    }
    assert usage["ts_ms"].min() == 1_556_694_000_000  # midnight in Los Angeles
    assert usage["instance"].str.contains(r"^33\d+/\d+$").all()
    events = rows(one, "instance_events")
    assert set(events["reason"]) <= {f"Instance{word}" for word in ("Evict", "Fail", "Finish", "Kill", "Lost")}
    assert set(usage["entity"]) >= set(events["entity"])  # by their logical name, where hashes may hold a slash
    assert usage["entity"].str.contains(r"^borg-2019/service/-/[^/]{12}$").all()
    assert events.filter(reason="InstanceEvict")["type"].unique().to_list() in ([], ["Warning"])
    assert one.dropped["instance_events"].keys() - {"exact repeat"} == {
        "outside the trace window",
        "routine state change",
    }
    assert set(rows(one, "machine_events")["reason"]) <= {"MachineAdd", "MachineRemove", "MachineUpdate"}
    assert rows(one, "machine_attributes")["entity"].str.starts_with("borg-2019/node/-/33").all()


def test_borg_2019_says_the_same_in_every_encoding(folder):
    tables = {form: everything(source("borg-2019", folder("borg-2019", form))) for form in ("json", "csv", "parquet")}
    for partition in tables["json"]:
        without = {form: one[partition].frame.drop("offset") for form, one in tables.items()}
        assert without["json"].equals(without["parquet"]), partition
        if partition == "instance_usage":  # a CSV holds no vectors
            kept = ~pl.col("indicator").str.starts_with("cpu_usage_p")
            without["json"] = without["json"].filter(kept)
        assert without["json"].equals(without["csv"]), partition


def test_borg_2019_without_collection_events_goes_by_the_id(folder, tmp_path):
    for path in folder("borg-2019").glob("instance_usage*"):
        shutil.copy(path, tmp_path)
    one = source("borg-2019", tmp_path)
    assert one.partitions() == {"instance_usage": "metrics"}
    assert rows(one, "instance_usage")["entity"].str.contains(r"^borg-2019/service/-/33\d+$").all()


def test_borg_2019_words_for_numbers_and_bad_rows(tmp_path):
    lines = [
        '{"time":"700000000","type":"EVICT","collection_id":"1","instance_index":"0","machine_id":"5"}',
        '{"time":"700000000","type":5,"collection_id":"1","instance_index":"0","machine_id":"0"}',
        '{"time":"700000000","type":"99","collection_id":"1","instance_index":"0"}',
        '{"time":"-5","type":"4","collection_id":"1","instance_index":"0"}',
        '{"time":"400000000000000000","type":"4","collection_id":"1","instance_index":"0"}',
        '{"time":"9223372036854775807","type":"4","collection_id":"1","instance_index":"0"}',
    ]
    (tmp_path / "instance_events.json").write_text("\n".join(lines))
    one = source("borg-2019", tmp_path)
    got = read(one.open("instance_events"))
    assert got.frame.select("ts_ms", "reason", "message", "uid").rows() == [
        (1_556_694_100_000, "InstanceEvict", "collection 1, instance 0, machine 5", "1/0"),
        (1_556_694_100_000, "InstanceFail", "collection 1, instance 0", "1/0"),
    ]
    assert sorted(letter.reason for letter in got.letters) == [
        "instance_events.json, row 3: type is not known",
        "instance_events.json, row 4: time is not within the trace",
        "instance_events.json, row 5: time is not within the trace",
    ]
    assert one.dropped == {"instance_events": {"outside the trace window": 1}}


def test_borg_2011(folder):
    one = source("borg-2011", folder("borg-2011"))
    usage = rows(one, "task_usage")
    assert usage["ts_ms"].min() == 1_304_290_800_000  # 19:00 in New York
    assert "disk_io_time" not in set(usage["indicator"])  # empty, so it was not said
    assert {"cpu_rate", "sampled_cpu_usage"} <= set(usage["indicator"])
    assert set(rows(one, "task_events")["reason"]) <= {
        f"Task{word}" for word in ("Evict", "Fail", "Finish", "Kill", "Lost")
    }
    assert set(rows(one, "machine_events")["reason"]) <= {"MachineAdd", "MachineRemove", "MachineUpdate"}
    assert set(usage["entity"]) == set(rows(one, "task_events")["entity"]) | set(usage["entity"])


def test_borg_2011_reads_the_first_version_too(tmp_path):
    row = "600000000,900000000,3418309,0,4155527081,0.001562,0.06787,0.07849,0.002,0.003,0.0796,0.0001,0.0005,0.01,0.1"
    row += ",2.9,0.008,1,0"
    (tmp_path / "task_usage").mkdir()
    (tmp_path / "task_usage" / "part-00000-of-00500.csv").write_text(
        f"{row}\n{row.replace('3418309', '3418310')},0.5\n"
    )
    got = read(source("borg-2011", tmp_path).open("task_usage"))
    assert got.frame.filter(indicator="cpu_rate").select("entity", "instance", "value").rows() == [
        ("borg-2011/service/-/3418309", "3418309/0", 0.001562)
    ]
    assert [one.reason for one in got.letters] == ["task_usage/part-00000-of-00500.csv, row 2: 20 fields instead of 19"]


def test_alibaba_2018(folder):
    one = source("alibaba-2018", folder("alibaba-2018"))
    nodes, containers = rows(one, "machine_usage"), rows(one, "container_usage")
    assert nodes["entity"].str.contains("^alibaba-2018/node/-/m_").all()
    assert containers["entity"].str.contains("^alibaba-2018/service/-/app_").all()
    assert containers["instance"].str.starts_with("c_").all()
    invalid = nodes.filter(indicator="disk_io_percent")["value"].is_nan()
    assert invalid.any() and not invalid.all()
    batch = rows(one, "batch_instance")
    assert batch["entity"].str.contains("^alibaba-2018/service/batch/type-").all()
    assert set(batch["indicator"]) == {"cpu_avg", "cpu_max", "mem_avg", "mem_max", "duration_s"}
    assert set(rows(one, "batch_instance_events")["reason"]) <= {"InstanceFailed", "InstanceInterrupted"}
    assert set(rows(one, "batch_task")["reason"]) <= {"TaskTerminated", "TaskFailed", "TaskInterrupted"}
    assert set(rows(one, "container_meta")["entity"]) <= set(containers["entity"])
    assert "state at the beginning of the trace" in one.dropped["container_meta"]


MS_2022 = """timestamp,traceid,service,rpc_id,um,uminstanceid,rpctype,interface,dm,dminstanceid,rt
1000,T_1,S_1,0,USER,,http,if0,MS_1,MS_1_POD_0,20.0
1001,T_1,S_1,0.1,MS_1,MS_1_POD_0,rpc,if1,(?),,15.0
1003,T_1,S_1,0.1,NAN,,rpc,if1,MS_2,MS_2_POD_1,-11.0
1004,T_1,S_1,0.1.2.1,MS_3,,mc,,MS_C,,0.0
1005,T_1,S_1,0.2,MS_1,,db,,UNKNOWN,,4.0
1006,T_1,S_1,0.3,MS_1,,mq,if3,MS_4,,5.0
1006,T_1,S_1,0.3,MS_1,,mq,if3,MS_5,,6.0
1006,T_1,S_1,0.4,MS_1,,mq,if3,MS_5,,late
"""


def test_calls_become_spans(tmp_path):
    (tmp_path / "MSCallGraph_0.csv").write_text(MS_2022)
    one = source("alibaba-microservices-2022", tmp_path)
    got = read(one.open("MSCallGraph"))
    begin = 1_640_995_200_000
    spans = got.frame.select(
        pl.col("ts_ms") - begin, pl.col("entity").str.strip_prefix("alibaba-microservices-2022/"), "span_id",
        "parent_span_id", "operation", "duration_ms",
    )  # fmt: skip
    assert sorted(spans.rows()) == [
        (1004, "database/-/MS_C", "0.1.2.1", "0.1", "mc", 0.0),  # 0.1.2 was not recorded
        (1011, "service/-/MS_4", "0.3", "0", "if3", 5.0),
        (1012, "service/-/MS_5", "0.3~1", "0", "if3", 6.0),
        (1014, "service/-/MS_2", "0.1", "0", "if1", 11.0),  # both sides are one, by the callee's own time
        (1020, "service/-/MS_1", "0", None, "if0", 20.0),
    ]
    assert [letter.reason for letter in got.letters] == ["MSCallGraph_0.csv, row 9: rt is not a number"]
    assert one.dropped == {"MSCallGraph": {"call of nobody known": 1}}


@pytest.mark.parametrize("year", [2021, 2022])
def test_alibaba_microservices(folder, year):
    name = f"alibaba-microservices-{year}"
    one = source(name, folder(name))
    spans, resources = rows(one, "MSCallGraph"), rows(one, "MSResource")
    assert spans.select("trace_id", "span_id").is_unique().all()
    assert spans.group_by("trace_id").len()["len"].unique().to_list() == [5]  # each call once, though told twice
    assert set(spans["parent_span_id"]) == {None, "0", "0.1"}
    assert set(spans["entity"].str.split("/").list.get(1)) == {"service", "database"}
    assert set(resources["indicator"]) == {"cpu_utilization", "memory_utilization"}
    assert {entity for entity in spans["entity"] if "/service/" in entity} & set(resources["entity"])
    rates = rows(one, "MSRTQps" if year == 2021 else "MSRTMCR")
    wanted = {"providerRPC_RT", "HTTP_MCR"} if year == 2021 else {"providerrpc_rt", "writemc_mcr"}
    assert wanted <= set(rates["indicator"])
    assert "writemc_rt" not in set(rates["indicator"])  # nobody called
    assert rows(one, "Node")["entity"].str.starts_with(f"{name}/node/-/NODE_").all()


def test_alibaba_gpu_2023(folder):
    one = source("alibaba-gpu-2023", folder("alibaba-gpu-2023"))
    assert list(one.unread.values()) == ["another list of the same things is read"]
    events = rows(one, "events")
    created, ended = (
        events.filter(reason="PodCreated"),
        events.filter(pl.col("reason").is_in(["PodFailed", "PodSucceeded"])),
    )
    assert created.height == created["uid"].n_unique() == 40
    assert set(ended["uid"]) <= set(created["uid"])
    assert one.dropped["events"]["still there at the end of the trace"] >= 3
    metrics = rows(one, "metrics")
    running = metrics.filter(indicator="pods_running")
    assert running["value"].min() >= 0 and 0 < running["value"].max() <= 40
    assert metrics.filter(indicator="pods_pending")["value"].min() >= 0
    share = metrics.filter(indicator="given_gpu_ratio")
    assert share["entity"].unique().to_list() == ["alibaba-gpu-2023/queue/-/cluster"]
    assert rows(one, "nodes")["object_kind"].unique().to_list() == ["Node"]


PODS = """name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
openb-pod-0000,12000,16384,1,1000,,LS,Running,0,18000,0
openb-pod-0001,6000,12288,1,460,nan,LS,Failed,3600,10800,7200
openb-pod-0002,4000,1000,2,1000,V100M16|V100M32,BE,Pending,100,18000,
openb-pod-0003,4000,1000,2,1000,,BE,Succeeded,500,200,600
"""


def test_what_pods_were_given_is_counted_by_the_hour(tmp_path):
    (tmp_path / "openb_pod_list_default.csv").write_text(PODS)
    one = source("alibaba-gpu-2023", tmp_path)
    metrics = rows(one, "metrics", entity="alibaba-gpu-2023/service/-/LS")

    def values(indicator: str) -> list[float]:
        return metrics.filter(indicator=indicator)["value"].to_list()

    assert values("pods_running") == [1, 1, 2, 1, 1, 0, 0]
    assert values("pods_pending") == [0, 1, 0, 0, 0, 0, 0]
    assert values("given_gpu_milli") == [1000, 1000, 1460, 1000, 1000, 0, 0]
    assert values("scheduling_wait_s") == [0, 3600]
    got = read(one.open("events"))
    assert got.frame.filter(reason="PodFailed").select("type", "uid").rows() == [("Warning", "openb-pod-0001")]
    assert [letter.reason for letter in got.letters] == [
        "openb_pod_list_default.csv, row 5: the pod was scheduled or deleted before it was created"
    ]


def test_the_published_gpu_trace(tmp_path):
    path = dataset("alibaba/gpu-2023")
    one = source("alibaba-gpu-2023", path)
    got = everything(one)
    assert {name: (read.frame.height > 1000, len(read.letters)) for name, read in got.items()} == {
        "events": (True, 0),
        "metrics": (True, 0),
        "nodes": (True, 0),
    }
    assert got["nodes"].frame.height == 1_523
    assert got["events"].frame.filter(reason="PodCreated").height == 8_152


@pytest.mark.parametrize(("name", "form"), TRACES[:-1], ids=IDS[:-1])
def test_spoiled_files_never_raise(name, form, tmp_path):
    """Bytes changed at random, as by a bad disk: rows or letters, whatever the column."""
    chance = np.random.default_rng(0)
    data = generate(name, tmp_path / "data", rows=60, instances=8, form=form, packed=False)
    for packed in sorted(data.rglob("*.tar.gz")):
        with tarfile.open(packed) as tar:
            tar.extractall(packed.parent, filter="data")
        packed.unlink()
    letters = 0
    for _ in range(6):
        spoiled = tmp_path / "spoiled"
        shutil.rmtree(spoiled, ignore_errors=True)
        shutil.copytree(data, spoiled)
        for path in sorted(one for one in spoiled.rglob("*") if one.is_file()):
            content = np.frombuffer(path.read_bytes(), np.uint8).copy()
            begin = path.read_bytes().find(b"\n") + 1  # a header that is no header is told once, for the whole file
            at = chance.integers(begin, len(content), max(3, len(content) // 300))
            content[at] = chance.choice(np.frombuffer(b'0123456789-.,"eE\n\x00\xffxN{}[]', np.uint8), len(at))
            path.write_bytes(content.tobytes())
        letters += sum(len(got.letters) for got in everything(source(name, spoiled)).values())
    assert letters
