"""The command of the unit and the settings of the manifest start a worker, which answers probes and ends in time."""

from __future__ import annotations

import re
import sys
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.test_units import UNITS, command_of, container, named, service_of, worker_of
from tests.kafka.topics import create_topic
from tests.parts.processes import Program, eventually, fetch, free_port


def status(url: str) -> int:
    try:
        fetch(url)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
    return 200


def settings_over(broker: Any, folder: Path) -> Path:
    """Return the manifest's settings, for a broker without TLS, topics of this test's own and nobody to tell."""
    text = named("ConfigMap", "opsbrain")["data"]["opsbrain.toml"]
    name, topic = f"unit-{time.time_ns()}", create_topic(broker, 1, "unit")
    text = re.sub(r"\[kafka\.security\]\n(.+\n)+", "", text)
    text = re.sub(r"\[\[notify\.webhooks\]\]\n(.+\n)+", "", text)
    text = re.sub(r'bootstrap = ".*"', f'bootstrap = "{broker.bootstrap}"\ngroup_prefix = "{name}"', text)
    text = re.sub(r"telemetry = \[\n(.+\n)+?\]", f'telemetry = [{{ topic = "{topic}", format = "fluentbit" }}]', text)
    text = text.replace("partitions = 8", f'partitions = 1\ntopic_prefix = "{name}."')
    text = re.sub(r"file:/run/secrets/opsbrain/[\w-]+", "not-a-token", text)
    (folder / "opsbrain.toml").write_text(text)
    return folder / "opsbrain.toml"


@pytest.mark.kafka
def test_the_unit_starts_a_worker_that_answers_its_probes_and_ends_in_time(broker: Any, tmp_path: Path) -> None:
    unit, port = next(unit for unit in UNITS if "worker" in unit.name), free_port()
    command = [sys.executable, "-m", "opsbrain", *command_of(unit, str(port))[1:]]
    command[command.index("--config") + 1] = str(settings_over(broker, tmp_path))
    command = [word.replace("/var/lib/opsbrain", str(tmp_path)) for word in command]
    probes = {name: container(worker_of())[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")}
    url = f"http://127.0.0.1:{port}"
    with Program(command, tmp_path / "log") as worker:
        worker.start(lambda: status(url + probes["readinessProbe"]) == 200, timeout_s=60)
        assert status(url + probes["livenessProbe"]) == 200
        assert status(f"{url}/metrics") == 401  # the manifest has a token for it
        assert eventually(lambda: (tmp_path / str(port)).is_dir())
        began_s = time.monotonic()
        worker.stop(float(service_of(unit)["TimeoutStopSec"]))
        assert time.monotonic() - began_s < 10
    assert "Traceback" not in worker.last_words()
