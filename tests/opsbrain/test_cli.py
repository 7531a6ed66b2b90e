"""Every command as a person types it: what it prints, how it ends, and that bad input is one clear line."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from engine.types import Phase
from opsbrain import cli
from opsbrain.commands.demo import RECORDING
from opsbrain.export import write_export
from opsbrain.folder_lock import lock_folder
from opsbrain.store import Store
from tests.opsbrain.samples import dead_letter, fix, incident

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("demo", "replay", "up", "worker", "export", "detect")
COMMANDS += ("templates", "rank", "incidents", "fixes", "doctor", "bench")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Run each test in an empty folder, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OPSBRAIN_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def run(capsys):
    def run(*args: object) -> tuple[int, str, str]:
        status = cli.main([str(one) for one in args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def refused(run):
    """Run a command that must end as one line on standard error and nothing on standard output."""

    def refused(*args: object, status: int = 1) -> str:
        ended, out, err = run(*args)
        assert ended == status, (ended, err)
        assert out == ""
        assert err.startswith("opsbrain: ") and err.endswith("\n") and err.count("\n") == 1
        return err[len("opsbrain: ") : -1]

    return refused


def level(count: int = 200, spike_at: tuple[int, ...] = (150, 151, 152)) -> list[float]:
    return [10 + (n * 7 % 5) / 10 + (500 if n in spike_at else 0) for n in range(count)]


def write_csv(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


# --- the command line itself


def test_without_arguments_it_shows_what_there_is(run):
    status, out, err = run()
    assert status == 2 and err == ""
    for name in COMMANDS:
        assert name in out


def test_version_and_help_are_fine(run):
    assert run("--version")[0] == 0
    for name in COMMANDS:
        status, out, err = run(name, "--help")
        assert (status, err) == (0, "") and "Usage" in out


def test_wrong_usage_is_one_line_and_status_2(refused):
    assert refused("nope", status=2) == "No such command 'nope'."
    assert "file" in refused("detect", status=2).lower()
    assert "--nope" in refused("detect", "x.csv", "--nope", status=2)
    assert "Missing command" in refused("incidents", status=2)


def test_wrong_settings_are_one_line_and_status_2(refused, tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[pipeline\n")
    assert "not valid TOML" in refused("doctor", "--config", broken, status=2)
    assert "cannot read settings" in refused("doctor", "--config", tmp_path / "none.toml", status=2)
    assert "expected SECTION.KEY=VALUE" in refused("doctor", "--set", "=1", status=2)
    assert "did you mean quiet_s?" in refused("doctor", "--set", "pipeline.quiet=1", status=2)


def test_an_unforeseen_error_is_one_line_too(refused, monkeypatch, tmp_path):
    def explode(*args: object) -> None:
        raise RuntimeError("boom\nwith more lines")

    monkeypatch.setattr("opsbrain.table.read_table", explode)
    assert refused("detect", "x.csv") == (
        "internal error: RuntimeError: boom with more lines (OPSBRAIN_DEBUG=1 shows where)"
    )
    monkeypatch.setenv("OPSBRAIN_DEBUG", "1")
    with pytest.raises(RuntimeError, match="boom"):
        cli.main(["detect", "x.csv"])


def test_an_interrupt_ends_with_130(run, monkeypatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("opsbrain.table.read_table", interrupt)
    assert run("detect", "x.csv")[0] == 130


def test_a_real_process_ends_the_same_way(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "import sys; from opsbrain.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "detect", "none.csv"], capture_output=True, text=True, env=env, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "opsbrain: none.csv: cannot read: No such file or directory\n"


# --- detect


def test_detect_finds_the_spike_and_says_when_as_in_the_file(run, tmp_path):
    rows = [f"2024-01-01 {n // 60:02d}:{n % 60:02d}:00,{value}" for n, value in enumerate(level())]
    status, out, err = run("detect", write_csv(tmp_path / "a.csv", "timestamp,value", rows), "--json")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert (told["series"], told["windows"]) == (1, 200)
    (one,) = told["anomalies"]
    assert (one["series"], one["start"], one["end"]) == ("value", "2024-01-01 02:30:00", "2024-01-01 02:33:00")
    assert one["direction"] == 1 and one["observed"] > 500 and one["detectors"] == ["zscore"]
    assert one["severity"] in ("warning", "critical") and 0 < one["tail_p"] < 1e-4
    assert one["expected"][0] < 11 < one["expected"][1] + 1


def test_detect_reads_wide_tables_and_parquet_alike(run, tmp_path):
    frame = pl.DataFrame({"time": list(range(200)), "a": level(), "b": level(spike_at=(90,)), "c": level(spike_at=())})
    frame.write_csv(tmp_path / "wide.csv")
    frame.write_parquet(tmp_path / "wide.any")
    told = [json.loads(run("detect", tmp_path / name, "--json")[1]) for name in ("wide.csv", "wide.any")]
    assert told[0] == told[1]
    assert [(one["series"], one["start"], one["end"]) for one in told[0]["anomalies"]] == [
        ("b", 90, 91),
        ("a", 150, 153),
    ]


def test_detect_for_people_is_a_table(run, tmp_path):
    rows = [f"{n},{value}" for n, value in enumerate(level())]
    status, out, _ = run("detect", write_csv(tmp_path / "a.csv", "timestamp,value", rows))
    assert status == 0 and out.endswith("1 anomaly in 1 series, 200 windows\n")


def test_detect_takes_gaps_and_rows_out_of_order(run, tmp_path):
    rows = [f"{n},{'' if n % 10 == 3 else value}" for n, value in enumerate(level())]
    _, out, err = run("detect", write_csv(tmp_path / "a.csv", "ts,value", rows[::-1]), "--json")
    told = json.loads(out)
    assert err.endswith("a.csv: rows were not in the order of their times, and were sorted\n")
    assert [(one["start"], one["end"]) for one in told["anomalies"]] == [(150, 153)]


def test_an_anomaly_at_the_very_end_ends_one_step_later(run, tmp_path):
    rows = [f"2024-01-01T{n // 60:02d}:{n % 60:02d}:00Z,{value}" for n, value in enumerate(level(spike_at=(199,)))]
    told = json.loads(run("detect", write_csv(tmp_path / "a.csv", "timestamp,value", rows), "--json")[1])
    assert [one["end"] for one in told["anomalies"]] == ["2024-01-01T03:20:00Z"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"timestamp,value\n", "no rows"),
        (b"a,b\n1,2\n", "no time column; name one of the columns timestamp or time (there are: a, b)"),
        (b"timestamp\n1\n", "only the time column 'timestamp'"),
        (b"timestamp,value\n1,2\n2,oops\n", "row 2, column 'value': 'oops' is not a number"),
        (b"timestamp,value\n1,2\nlater,3\n", "row 2, column 'timestamp': 'later' is no time"),
        (b"timestamp,value\n1,2\n,3\n", "row 2, column 'timestamp': nothing is no time"),
        (b"timestamp,value\n1,2,3\n", "cannot read the table"),
        (b"timestamp,value\n1,2\n1e30,3\n", "row 2, column 'timestamp': 1e30 is not between 1980 and 2100"),
        (b"timestamp,value\n1,2\ninf,3\n", "row 2, column 'timestamp': 'inf' is no time"),
        (b"timestamp,value\n2024-01-01,2\n0024-01-01,3\n", "row 2, column 'timestamp': 0024-01-01 is not between"),
        (b"timestamp,value\n1,2\n1,3\n", "column 'timestamp': every row has the same time"),
        (b"timestamp,value,value\n1,2,3\n", "column 'value' is there more than once"),
        (b"\x00\x01\x02", "neither CSV nor Parquet"),
        (b"PAR1garbage", "cannot read the table"),
    ],
)
def test_a_broken_table_is_one_line_that_says_where(refused, tmp_path, content, said):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    text = refused("detect", path)
    assert text.startswith(f"{path}: ") and said in text


def test_what_is_named_parquet_must_be_it(refused, tmp_path):
    path = write_csv(tmp_path / "a.parquet", "timestamp,value", ["1,2"])
    assert refused("detect", path) == f"{path}: not Parquet; name it .csv if it is that"


@pytest.mark.filterwarnings("error")
def test_detect_takes_infinities_as_missing_and_says_so(run, tmp_path):
    odd = {20: "inf", 40: "-inf", 60: "1e308", 80: "-1e308", 100: "1e99", 101: "-1e99"}
    rows = [f"{n},{odd.get(n, value)}" for n, value in enumerate(level())]
    status, out, err = run("detect", write_csv(tmp_path / "a.csv", "timestamp,value", rows), "--json")
    assert status == 0 and err.endswith("a.csv: 4 values infinite or beyond 1e+100, treated as missing\n")
    assert err.count("\n") == 1 and [one["start"] for one in json.loads(out)["anomalies"]]


def test_detect_needs_a_detector_that_learns_as_it_goes(refused, tmp_path):
    path = write_csv(tmp_path / "a.csv", "timestamp,value", ["1,2"])
    assert "needs a detector" in refused("detect", path, "--set", 'detectors.enabled=["forest"]', status=2)
    assert "no detector 'zscor'" in refused("detect", path, "--set", 'detectors.enabled=["zscor"]', status=2)


# --- replay


def broken_recording(tmp_path: Path) -> Path:
    folder = shutil.copytree(RECORDING, tmp_path / "recording")
    file = folder / json.loads((folder / "recording.json").read_text())["inputs"][0]["file"]
    file.write_bytes(file.read_bytes()[:-100])
    return folder


def test_replay_says_what_it_could_not_read(run, tmp_path):
    status, out, err = run("replay", broken_recording(tmp_path), "--format", "opsbrain")
    assert status == 0 and "1 dead-lettered" in out
    assert err.startswith("opsbrain: 1 dead letter: ") and "cut off" in err and err.count("\n") == 1


def test_replay_refuses_what_it_cannot_write_before_it_starts(refused, tmp_path):
    (tmp_path / "file").write_text("")
    for flag, path in (("--out", "file"), ("--out", "file/x"), ("--report", "file/x.html"), ("--report", ".")):
        assert "cannot write" in refused("replay", RECORDING, "--format", "opsbrain", flag, tmp_path / path)


def test_a_state_folder_is_used_by_one_run(refused, tmp_path):
    held = lock_folder(tmp_path / "state", who="", remedy="")
    text = refused("replay", RECORDING, "--format", "opsbrain", "--state", tmp_path / "state")
    os.close(held)
    assert text.endswith("another `opsbrain` run uses it; stop that one, or name another --state")


# --- templates


def test_templates_counts_and_assigns_every_line(run, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"took 12 ms\r\ntook 7 ms\nconnection from 10.0.0.1 refused\n\xff\xfe took 3 ms\n")
    status, out, _ = run("templates", log, "--json", "--assign", tmp_path / "a.csv")
    told = json.loads(out)
    assert status == 0 and told["lines"] == 4
    assert told["templates"][0] | {"id": ""} == {"id": "", "template": "took <*> ms", "count": 2, "first_line": 1}
    assert sum(one["count"] for one in told["templates"]) == 4
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["line"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["final"] == rows[1]["final"] == told["templates"][0]["id"]
    assert rows[0].keys() == {"line", "on_arrival", "final"}
    assert "4 lines" in run("templates", log)[1]


def test_templates_opens_gzip(run, refused, tmp_path):
    packed = gzip.compress(b"took 12 ms\ntook 7 ms\n")
    (tmp_path / "a.log.gz").write_bytes(packed)
    assert json.loads(run("templates", tmp_path / "a.log.gz", "--json")[1])["lines"] == 2
    (tmp_path / "cut.gz").write_bytes(packed[:-9])
    (tmp_path / "bad.gz").write_bytes(packed[:12] + bytes(9) + packed[21:])
    for name in ("cut.gz", "bad.gz"):
        assert "the gzip archive is damaged or cut off" in refused("templates", tmp_path / name)


def test_templates_of_what_cannot_be_read_are_one_line(refused, tmp_path):
    assert refused("templates", "none.log") == "none.log: cannot read: No such file or directory"
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "binary").write_bytes(b"ELF\x00\x01")
    assert "NUL bytes" in refused("templates", tmp_path / "binary")
    assert "the file is empty" in refused("templates", tmp_path / "empty.log")
    (tmp_path / "a.log").write_text("x\n")
    assert "cannot write" in refused("templates", tmp_path / "a.log", "--assign", tmp_path / "no" / "a.csv")


def test_control_characters_in_a_log_do_not_reach_the_terminal(run, tmp_path):
    log = tmp_path / "evil.log"
    log.write_bytes(b"hello \x1b[31m\x07world\n")
    assert "\x1b" not in run("templates", log)[1]


# --- rank


def wide(tmp_path: Path) -> Path:
    rows = [
        f"{n},{10 + n % 3 + (90 if n >= 100 else 0)},{5 + n % 2},{7 + n % 2 + (20 if n >= 103 else 0)}"
        for n in range(140)
    ]
    return write_csv(tmp_path / "wide.csv", "time,cart_latency,ads_latency,web_latency", rows)


def test_rank_names_the_cause(run, tmp_path):
    (tmp_path / "graph.csv").write_text("caller,callee\nweb,cart\nweb,ads\n")
    for more in ((), ("--graph", tmp_path / "graph.csv")):
        status, out, _ = run("rank", wide(tmp_path), "--onset", "100", "--json", *more)
        told = json.loads(out)
        assert status == 0 and told["abstained"] is None
        assert told["ranking"][0]["entity"] == "cart"
        assert "latency" in [one["indicator"] for one in told["ranking"][0]["evidence"]]
    assert "cart" in run("rank", wide(tmp_path), "--onset", "100")[1]


def test_rank_says_why_it_abstains(run, tmp_path):
    status, out, _ = run("rank", wide(tmp_path), "--onset", "5000", "--json")
    assert status == 0 and json.loads(out)["ranking"] == [] and json.loads(out)["abstained"]
    assert "no cause is named" in run("rank", wide(tmp_path), "--onset", "5000")[1]


def test_rank_refuses_what_it_cannot_read(refused, tmp_path):
    assert "none.csv" in refused("rank", "none.csv", "--onset", "1")
    assert "is no time" in refused("rank", wide(tmp_path), "--onset", "noon", status=2)
    assert "none.json" in refused("rank", wide(tmp_path), "--onset", "1", "--graph", "none.json")
    odd = write_csv(tmp_path / "odd.csv", "time,value", ["1,2"])
    assert refused("rank", odd, "--onset", "1").startswith(f"{odd}: no column is named")
    assert "onset" in refused("rank", odd, status=2)


# --- incidents and fixes


@pytest.fixture
def kept(tmp_path):
    """Return flags that name a store with one incident and one fix."""
    folder = tmp_path / "store"
    with Store(folder) as store:
        store.put_incidents([incident(1), incident(2, Phase.RESOLVED)])
        store.put_fixes([fix(2, expires_ms=1 << 50)])
    return ("--set", f"store.folder={folder}")


def test_incidents_are_listed_and_shown(run, kept):
    status, out, _ = run("incidents", "list", *kept)
    assert status == 0 and "inc-0123456789abcdef" in out and "resolved" in out and "payments" in out
    status, out, _ = run("incidents", "show", "inc-0", *kept)
    assert status == 0 and "payments rolled out 1.4.3" in out and "inconclusive" in out
    assert json.loads(run("incidents", "list", "--json", *kept)[1])[0]["revision"] == 2
    assert json.loads(run("incidents", "show", "inc-0", "--json", *kept)[1])["fixes"][0]["revision"] == 2


def test_an_export_can_be_looked_at_the_same_way(run, refused, tmp_path):
    write_export(tmp_path / "out", [], [incident(1)], [fix()], [dead_letter()], {})
    assert "inc-0123456789abcdef" in run("incidents", "list", "--export", tmp_path / "out")[1]
    assert "4 of 5 checks passed" in run("fixes", "list", "--export", tmp_path / "out")[1]
    assert run("fixes", "show", "fix-0", "--export", tmp_path / "out")[0] == 0
    assert "not found" in refused("incidents", "list", "--export", tmp_path / "none")


def test_a_fix_goes_from_proposed_to_approved_to_rolled_back(run, refused, kept):
    assert json.loads(run("fixes", "show", "fix-0", "--json", *kept)[1])["standing"] == "proposed"
    assert "only an approved fix can be rolled back" in refused("fixes", "rollback", "fix-0", "--who", "ada", *kept)
    status, out, _ = run("fixes", "approve", "fix-0", "--who", "ada", "--reason", "makes sense", *kept)
    assert status == 0 and "is approved" in out and "nothing was run" in out and "kubectl patch" in out
    assert "approved" in run("fixes", "list", *kept)[1]
    assert "refused: it is approved already" in refused("fixes", "approve", "fix-0", "--who", "ada", *kept)
    status, out, _ = run("fixes", "rollback", "fix-0", "--who", "ada", *kept)
    assert status == 0 and "is rolled back" in out and "1.4.3" in out
    shown = run("fixes", "show", "fix-0", *kept)[1]
    assert "approved by ada: makes sense\n" in shown and "rolled back by ada\n" in shown


def test_a_fix_is_shown_whole_one_operation_a_line(run, tmp_path):
    patch = json.dumps([{"op": "replace", "path": f"/{n}", "value": "x" * 150} for n in range(3)])
    action = replace(fix().actions[0], body=patch)
    with Store(tmp_path / "store") as store:
        store.put_fixes(
            [fix(actions=(action,), undo=(replace(action, verb="create", body='{"a": {"b": "\\u001b"}}'),))]
        )
    out = run("fixes", "show", "fix-0", "--set", f"store.folder={tmp_path / 'store'}")[1]
    assert [json.loads(line) for line in out.splitlines() if '"op"' in line] == json.loads(patch)
    assert '"b": "\\u001b"' in out and "proposed; nobody has decided" in out


def test_on_kafka_a_missing_store_says_the_way(refused):
    for name in ("incidents", "fixes"):
        text = refused(name, "list", "--set", "kafka.bootstrap=x:1")
        assert "`opsbrain export --out DIR`" in text and "--export DIR" in text


def test_a_fix_can_be_rejected(run, kept):
    status, out, _ = run("fixes", "reject", "fix-0", "--who", "ada", *kept)
    assert status == 0 and "is rejected" in out and "kubectl" not in out


def test_unknown_ids_and_a_missing_store_are_one_line(refused, kept):
    assert "'inc-9' is not known; `opsbrain incidents list`" in refused("incidents", "show", "inc-9", *kept)
    assert "an id is needed" in refused("incidents", "show", "", *kept)
    assert "an id is needed" in refused("fixes", "approve", " ", *kept)
    assert "'fix-9' is not known; `opsbrain fixes list`" in refused("fixes", "approve", "fix-9", *kept)
    assert "not found; `opsbrain up` writes it" in refused("incidents", "list")


# --- doctor and bench


def test_doctor_finds_everything_in_order(run, tmp_path):
    status, out, _ = run("doctor", "--set", f"store.folder={tmp_path}/state", "--set", "http.port=0", "--json")
    findings = {one["name"]: one["outcome"] for one in json.loads(out)["findings"]}
    assert status == 0 and findings["store.folder"] == findings["detectors"] == findings["notify"] == "ok"
    assert findings["kafka"] == "note"
    assert not (tmp_path / "state").exists()


def test_doctor_says_what_is_wrong_and_ends_with_1(run, tmp_path):
    (tmp_path / "file").write_text("")
    flags = [
        *("--set", f"store.folder={tmp_path}/file/x"),
        *("--set", "notify.webhooks=[{name='a', url='env:NOT_THERE'}]"),
        *("--set", 'detectors.enabled=["zscore", "magic"]'),
        *("--set", "http.port=0"),
    ]
    status, out, err = run("doctor", "--json", *flags)
    findings = {one["name"]: one for one in json.loads(out)["findings"]}
    assert (status, err) == (1, "")
    assert [name for name, one in findings.items() if one["outcome"] == "failed"] == [
        "detectors",
        "notify",
        "store.folder",
    ]
    assert "NOT_THERE" in findings["notify"]["text"]


@pytest.mark.parametrize(
    ("flag", "check", "said"),
    [
        ("ranker.options.nope=1", "engine", "ranker.options.nope"),
        ("policy.options.nope=1", "engine", "policy.options.nope"),
        ("identity.overrides={a='b'}", "identity", "identity.overrides: 'a'"),
        ("http.host=0.0.0.0", "http", "set http.token"),
        ("http.max_body_mb=256", "http", "store.journal_mb must"),
    ],
)
def test_doctor_fails_what_up_refuses(run, refused, flag, check, said):
    status, out, _ = run("doctor", "--json", "--set", "http.port=0", "--set", flag)
    failed = {one["name"]: one["text"] for one in json.loads(out)["findings"] if one["outcome"] == "failed"}
    assert status == 1 and list(failed) == [check] and said in failed[check]
    assert said in refused("up", "--set", "http.port=0", "--set", flag, status=2)


def test_doctor_fails_a_port_and_a_folder_in_use(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, Store(tmp_path / "state"):
        os.close(lock_folder(tmp_path / "state", who="", remedy=""))
        held = lock_folder(tmp_path / "state", who="", remedy="")
        flags = ("--set", f"http.port={taken.getsockname()[1]}", "--set", f"store.folder={tmp_path / 'state'}")
        out = run("doctor", "--json", *flags)[1]
        os.close(held)
    failed = {one["name"]: one["text"] for one in json.loads(out)["findings"] if one["outcome"] == "failed"}
    assert "set http.port" in failed["http"] and "another `opsbrain` process uses it" in failed["store.folder"]


def test_no_detector_at_all_is_refused(refused):
    for name in ("doctor", "up", "worker"):
        assert refused(name, "--set", "detectors.enabled=[]", status=2) == "detectors.enabled: name at least one"


def test_doctor_says_that_no_broker_answers(run, monkeypatch):
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("engine.runners.kafka.topics._TIMEOUT_S", 0.3)
    status, out, _ = run("doctor", "--set", "kafka.bootstrap=127.0.0.1:1", "--json")
    kafka = next(one for one in json.loads(out)["findings"] if one["name"] == "kafka")
    assert status == 1 and kafka["outcome"] == "failed" and "no broker answers" in kafka["text"]


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("9108", "is not host:port"),
        ("0.0.0.0:9108", "set http.metrics_token"),
        ("nowhere.invalid:9108", "set http.metrics_token"),
    ],
)
def test_doctor_fails_an_address_that_a_worker_refuses(run, refused, monkeypatch, listen, said):
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("engine.runners.kafka.topics._TIMEOUT_S", 0.3)
    flags = ("--set", "kafka.bootstrap=127.0.0.1:1", "--set", f"worker.listen={listen}")
    found = {one["name"]: one for one in json.loads(run("doctor", *flags, "--json")[1])["findings"]}
    assert found["worker.listen"]["outcome"] == "failed" and said in found["worker.listen"]["text"]
    topics = "kafka.telemetry=[{topic='logs',format='fluentbit'}]"
    assert said in refused("worker", *flags, "--set", topics, status=2)


def test_doctor_names_the_address_of_a_worker_that_cannot_be_had(run, monkeypatch):
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("engine.runners.kafka.topics._TIMEOUT_S", 0.3)
    flags = ("--set", "kafka.bootstrap=127.0.0.1:1", "--set", "worker.listen=nowhere.invalid:9108")
    out = run("doctor", *flags, "--set", "http.metrics_token=hush", "--json")[1]
    found = {one["name"]: one for one in json.loads(out)["findings"]}
    assert found["worker.listen"]["text"].startswith("worker.listen = nowhere.invalid")


def test_doctor_warns_of_more_memory_than_there_is_and_not_of_a_port_in_use(run, monkeypatch):
    pytest.importorskip("confluent_kafka")
    monkeypatch.setattr("engine.runners.kafka.topics._TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"worker.listen=127.0.0.1:{taken.getsockname()[1]}"
        flags = ("--set", "kafka.bootstrap=127.0.0.1:1", "--set", listen, "--set", "worker.memory_limit_mb=1000000")
        found = {one["name"]: one for one in json.loads(run("doctor", *flags, "--json")[1])["findings"]}
    assert found["worker.memory_limit_mb"]["outcome"] == "warning"
    assert found["worker.listen"]["outcome"] == "ok" and "in use" in found["worker.listen"]["text"]


def test_doctor_explains_an_entity(run, refused):
    status, out, _ = run("doctor", "--explain-entity", '{app="payments", namespace="shop"}', "--json")
    assert status == 0 and json.loads(out) == {"entity": "default/service/shop/payments", "rule": "label app"}
    assert "'nonsense' is not key=value" in refused("doctor", "--explain-entity", "nonsense", status=2)


def test_an_unknown_benchmark_is_wrong_usage(refused):
    assert "no benchmark 'nope'; there are:" in refused("bench", "nope", status=2)


def test_a_benchmark_writes_its_result(run, monkeypatch, tmp_path):
    result = {"name": "x", "version": 1, "data": "here", "metrics": {"a": {"b": 0.5}, "n": 3}, "cases": []}
    monkeypatch.setattr("opsbrain.commands.bench._load", lambda name: lambda data: result | {"data": str(data)})
    status, out, _ = run("bench", "x", "--data", "d", "--json", tmp_path / "deep" / "x.json")
    assert status == 0 and "a.b" in out and "0.5" in out
    assert json.loads((tmp_path / "deep" / "x.json").read_text()) == result | {"data": "d"}
