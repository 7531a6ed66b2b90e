"""Logs: lines for people or for programs, and no secret in either."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from opsbrain.cli import main
from opsbrain.logs import start_logging, tell
from opsbrain.secrets import Secret
from opsbrain.settings import Alertmanager, Http, Kafka, Log, Notify, Settings, Webhook

WEBHOOK = Webhook(name="on-call", url=Secret("https://hooks.example.com/very-private"), secrets=(Secret("whsec_none"),))
SETTINGS = replace(
    Settings(),
    http=Http(token=Secret("env:OPSBRAIN_TEST_TOKEN")),
    kafka=Kafka(
        security={
            "sasl.password": Secret('pass"word'),
            "security.protocol": Secret("SASL_SSL"),
            "ssl.ca.location": Secret("/etc/ca.pem"),
        }
    ),
    notify=Notify(webhooks=(WEBHOOK,), alertmanager=Alertmanager(url=Secret("file:/no/such/file"))),
)
SECRETS = ("the-token-of-all", "https://hooks.example.com/very-private", "whsec_none", 'pass"word', 'pass\\"word')


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OPSBRAIN_TEST_TOKEN", "the-token-of-all")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("engine", "opsbrain", "opsbrain.says")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("ingest", "models", "detectors", "rca", "autofix"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def said(settings: Settings, capsys: pytest.CaptureFixture[str]) -> list[str]:
    start_logging(settings, "opsbrain worker")
    log = logging.getLogger("engine.runners.kafka.decode")
    log.debug("not said")
    log.warning("decode: %d messages", 3, extra={"input": "telemetry.logs/0"})
    for secret in SECRETS[:4]:
        log.error("refused: %s", secret)
    logging.getLogger("somebody.else").info("not said either")
    return capsys.readouterr().err.splitlines()


def test_people_read_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(SETTINGS, capsys)
    assert lines == ["opsbrain worker: decode: 3 messages", *["opsbrain worker: refused: ***"] * 4]


def test_programs_read_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(replace(SETTINGS, log=Log(format="json")), capsys)
    first, *others = [json.loads(one) for one in lines]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("ts"))
    assert first == {
        "level": "warning",
        "logger": "engine.runners.kafka.decode",
        "msg": "decode: 3 messages",
        "input": "telemetry.logs/0",
    }
    assert [one["msg"] for one in others] == ["refused: ***"] * 4
    assert not any(secret in line for line in lines for secret in SECRETS)


def test_what_is_no_secret_of_kafka_stays_readable(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(SETTINGS, "opsbrain worker")
    logging.getLogger("opsbrain").warning("cannot read /etc/ca.pem with SASL_SSL")
    assert "cannot read /etc/ca.pem with SASL_SSL" in capsys.readouterr().err


def test_a_trace_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(replace(SETTINGS, log=Log(format="json")), "opsbrain worker")
    try:
        raise ValueError("the-token-of-all")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("it failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: ***" in json.loads(line)["trace"] and "the-token-of-all" not in line


def test_levels_are_ours_and_leave_libraries_alone(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(replace(SETTINGS, log=Log(level="debug")), "opsbrain worker")
    logging.getLogger("engine.window").debug("said")
    logging.getLogger("aiokafka").debug("not said")
    assert capsys.readouterr().err == "opsbrain worker: said\n"


def test_what_ends_the_process_is_an_object_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPSBRAIN_STORE__FOLDER", str(tmp_path))
    assert main(["up", "--set", "http.host=0.0.0.0", "--set", "log.format=json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["level"] == "error" and "set http.token" in told["msg"]
    start_logging(SETTINGS, "opsbrain")
    assert main(["up", "--set", "http.host=0.0.0.0"]) == 2
    assert capsys.readouterr().err.startswith("opsbrain: http.host = 0.0.0.0")


def test_where_we_listen_is_told_as_the_log_is(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(SETTINGS, "opsbrain")
    tell(SETTINGS, "listens on http://127.0.0.1:8080")
    assert capsys.readouterr().out == "listens on http://127.0.0.1:8080\n"
    programs = replace(SETTINGS, log=Log(format="json", level="error"))
    start_logging(programs, "opsbrain")
    tell(programs, "listens on http://127.0.0.1:8080")
    told = capsys.readouterr()
    assert told.out == "" and json.loads(told.err)["msg"] == "listens on http://127.0.0.1:8080"
