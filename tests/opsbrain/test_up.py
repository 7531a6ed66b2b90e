"""`opsbrain up` from the outside: what is posted becomes incidents, and what goes wrong is one line."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import opsbrain
from engine.errors import ConfigError, SourceError
from engine.types import Incident
from engine.values import to_json
from ingest.registry import source
from opsbrain.cli import main
from opsbrain.commands.demo import RECORDING
from opsbrain.console import FAILURES
from opsbrain.export import newest, read_export
from opsbrain.http_guard import HttpGuard, access_of
from opsbrain.journal import Journal
from opsbrain.keep import JournalKeep
from opsbrain.receive_body import BodyLimits, Budget
from opsbrain.receivers import Receivers, Rules
from opsbrain.replaying import run_replay
from opsbrain.secrets import Secret
from opsbrain.service import Service
from opsbrain.settings import Http, Identity, Pipeline, Settings, Store
from opsbrain.settings import Receivers as ReceiverSettings

T0 = 1_700_000_000_000
HERE = "http://127.0.0.1:8080"


def read_all(journal: Journal) -> list[bytes]:
    from opsbrain.journal_reader import JournalReader, Messages

    entries = iter(JournalReader(journal, 0).read, None)
    return [body for one in entries if isinstance(one, Messages) for body in one.bodies]


class Door:
    """Receivers with one journal, and a client in front of them."""

    def __init__(self, folder: Path, http: Http = Http(), max_bytes: int = 1 << 20) -> None:  # noqa: B008
        self.journal = Journal(folder / "logs", max_bytes)
        self.woken = 0
        access = access_of(http, ReceiverSettings())
        keep = JournalKeep({"logs": self.journal}, lambda: T0, self._wake)
        receivers = Receivers(keep, ["logs"], Rules(access, BodyLimits(10_000, 5.0), Budget(100_000)))
        app = Starlette(routes=receivers.routes(), exception_handlers=FAILURES)
        self.client = TestClient(HttpGuard(app, http, access), base_url=HERE)

    def _wake(self) -> None:
        self.woken += 1

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/receive/logs", content=body, headers=named)

    def kept(self) -> list[bytes]:
        return read_all(self.journal)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


PRETTY = b'{\n  "log": "a",\n  "list": [\n    {"b": 1},\n {"c": 2}\n  ]\n}'


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'{"a":1}\n{"a":2}\n', 2),
        (b'[{"a":1}, {"a":2}]', 2),
        (b' {"a":1} ', 1),
        (PRETTY, 1),
        (b'{"a":1}{"a":2}', 2),
        (b'\xef\xbb\xbf[{"a":1}]', 1),
        (b"not json\nat all", 1),
        (b'[{"a":1}, {"a"', 1),
        (b"\xff\xfe\x00", 1),
    ],
)
def test_a_body_is_kept_whole_and_its_records_are_told(door: Door, body: bytes, records: int) -> None:
    answer = door.post(body)
    assert (answer.status_code, answer.json()) == (202, {"received": records})
    assert door.kept() == [body]
    assert door.woken == 1


@pytest.mark.parametrize("body", [b"", b" \n", b"[]"])
def test_a_body_without_records_is_answered_and_not_kept(door: Door, body: bytes) -> None:
    answer = door.post(body)
    assert (answer.status_code, answer.json()) == (202, {"received": 0})
    assert door.kept() == []


def test_gzip_is_undone_in_several_members_too(door: Door) -> None:
    body = gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n')
    assert door.post(body, content_encoding="gzip").status_code == 202
    assert door.kept() == [b'{"a":1}\n{"a":2}\n']


def test_what_is_refused_says_why_and_keeps_nothing(door: Door) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 10_000
    answers = [
        door.client.post("/receive/nope", content=b"{}"),
        door.client.get("/receive/logs"),
        door.post(b"x" * 10_001),
        door.client.post("/receive/logs", content=iter([b"x" * 6_000, b"x" * 6_000])),
        door.post(bomb, content_encoding="gzip"),
        door.post(b"[" + b"1," * 4_000 + b"1]" * 1, content_encoding="br"),
        door.post(b"no gzip", content_encoding="gzip"),
        door.post(gzip.compress(b'{"a":1}')[:-6], content_encoding="gzip"),
    ]
    assert [one.status_code for one in answers] == [404, 405, 413, 413, 413, 415, 400, 400]
    assert "one of: logs" in answers[0].json()["error"]
    assert answers[1].json() == {"error": "Method Not Allowed"}
    assert door.client.get("/nowhere").json() == {"error": "Not Found"}
    assert door.kept() == [] and door.woken == 0


def test_a_full_journal_says_when_to_come_again(tmp_path: Path) -> None:
    door = Door(tmp_path, max_bytes=200)
    assert door.post(b"x" * 100).status_code == 202
    answer = door.post(b"y" * 100)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert door.kept() == [b"x" * 100]


def test_with_a_token_only_its_bearer_is_heard(tmp_path: Path) -> None:
    door = Door(tmp_path, Http(host="0.0.0.0", token=Secret("t0ken")))
    basic = base64.b64encode(b"anybody:t0ken").decode()
    answers = [
        door.post(b"{}"),
        door.post(b"{}", authorization="Bearer wrong"),
        door.post(b"{}", authorization="Basic ???"),
        door.post(b"{}", authorization="Bearer t0ken"),
        door.post(b"{}", authorization=f"Basic {basic}", host="monitor.example"),
    ]
    assert [one.status_code for one in answers] == [401, 401, 401, 202, 202]
    assert answers[0].headers["www-authenticate"].startswith("Basic")


def test_pages_of_others_cannot_reach_us_through_a_browser(door: Door) -> None:
    answers = [
        door.post(b"{}", host="evil.example"),
        door.post(b"{}", origin="http://evil.example"),
        door.post(b"{}", origin="null"),
        door.post(b"{}", host="[::1"),
        door.post(b"{}", origin=HERE),
        door.post(b"{}", host="localhost:8080"),
    ]
    assert [one.status_code for one in answers] == [403, 403, 403, 403, 202, 202]


def shop_settings(folder: Path) -> Settings:
    return Settings(
        pipeline=Pipeline(resolution_s=10),
        identity=Identity(scope="demo"),
        store=Store(folder=folder),
        http=Http(port=0),
    )


def recorded(parts: int) -> Iterator[tuple[str, bytes]]:
    """Yield (format, JSON lines) of the recording, all inputs side by side."""
    manifest = json.loads((RECORDING / "recording.json").read_text())
    lines = {
        one["format"]: gzip.decompress((RECORDING / one["file"]).read_bytes()).splitlines(True)
        for one in manifest["inputs"]
    }
    for part in range(parts):
        for name, every in lines.items():
            yield name, b"".join(every[part * len(every) // parts : (part + 1) * len(every) // parts])


def test_what_is_posted_gives_the_incidents_of_a_replay(tmp_path: Path) -> None:
    now_ms = 1_800_000_000_000  # after the recording: rows from the future would be dead letters
    settings = shop_settings(tmp_path / "store")
    with Service(settings, lambda: now_ms) as service:
        client = TestClient(service._app, base_url=HERE)
        for name, body in recorded(12):
            headers = {"content-encoding": "gzip"}
            answer = client.post(f"/receive/{name}", content=gzip.compress(body, 1), headers=headers)
            assert answer.status_code == 202
            service.live.drain(now_ms)
        now_ms += settings.pipeline.idle_after_s * 1000
        service.live.drain(now_ms)
        service.live.checkpoint(now_ms)
        page = client.get("/").text
        assert "<polyline" in page and "newest event <b>2" in page and "live telemetry" in page
    assert main(["export", "--out", str(tmp_path / "out"), "--set", f"store.folder={tmp_path / 'store'}"]) == 0
    live = read_export(tmp_path / "out")
    replayed = run_replay(settings, source("opsbrain", RECORDING))
    said = {(one.id, one.revision): to_json(one) for one in replayed.incidents}
    assert [one.id for one in newest(live.incidents)] == [one.id for one in newest(replayed.incidents)] != []
    assert _first_causes(live.incidents) == _first_causes(replayed.incidents)
    assert all(to_json(one) == said[one.id, one.revision] for one in live.incidents)
    assert live.summary["rows"] == replayed.summary()["rows"]
    assert live.summary["rows"]["late"] == 0


def _first_causes(incidents: tuple[Incident, ...]) -> list[str]:
    return [one.ranking.causes[0].entity for one in newest(incidents)]


def test_one_folder_is_used_by_one_process(tmp_path: Path) -> None:
    settings = shop_settings(tmp_path)
    with Service(settings), pytest.raises(SourceError, match="another `opsbrain up` uses it"):
        Service(settings)
    Service(settings).__exit__(None, None, None)


def test_what_cannot_start_says_so_in_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        folder = f"store.folder={tmp_path / 'store'}"
        said = []
        for flags in (
            [f"store.folder={tmp_path / 'file'}"],
            [folder, f"http.port={port}"],
            [folder, "http.host=0.0.0.0"],
            [folder, "http.max_body_mb=64", "store.journal_mb=64"],
        ):
            status = main(["up", *(part for one in flags for part in ("--set", one))])
            said.append((status, capsys.readouterr().err))
    assert [status for status, _ in said] == [1, 1, 2, 2]
    wanted = ("set store.folder", "Address already in use; set http.port", "set http.token", "store.journal_mb must")
    for (_, line), part in zip(said, wanted, strict=True):
        assert part in line and line.count("\n") == 1 and "Traceback" not in line


def test_a_token_that_cannot_be_had_stops_the_start(tmp_path: Path) -> None:
    settings = replace(shop_settings(tmp_path), http=Http(port=0, token=Secret("env:OPSBRAIN_NO_SUCH_TOKEN")))
    with pytest.raises(ConfigError, match=r"http\.token"):
        Service(settings)


def test_the_process_serves_stops_on_a_signal_and_leaves_an_export(tmp_path: Path) -> None:
    flags = ["--set", f"store.folder={tmp_path / 'store'}", "--set", "http.port=0"]
    code = "from opsbrain.cli import main; import sys; sys.exit(main())"
    env = os.environ | {"PYTHONPATH": str(Path(opsbrain.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "up", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        first = process.stdout.readline()
        address = next(word for word in first.split() if word.startswith("http://")).rstrip(":")
        answer = httpx.post(f"{address}/receive/fluentbit", content=b"garbage", trust_env=False)
        assert answer.status_code == 202
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert (
        err.startswith("opsbrain: dead letters: fluentbit 1 row; most often: 1 of fluentbit: ") and err.count("\n") == 1
    )
    assert "stopped" in out
    assert main(["export", "--out", str(tmp_path / "out"), *flags]) == 0
    (letter,) = read_export(tmp_path / "out").deadletters
    assert letter.body == "garbage"
