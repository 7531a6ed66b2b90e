"""Shippers write Fluent Bit's JSON to Kafka: rsyslog's omkafka and kcat; a worker finds every line once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ingest.identity import Identity
from ingest.registry import format_of
from tests.kafka.conftest import Broker
from tests.kafka.topics import create_topic, end, messages
from tests.kafka.workers import Cluster, working
from tests.parts.processes import eventually
from tests.parts.programs import Rsyslog

LINES = 500
RULES = """\
module(load="omkafka")
template(name="fluentbit" type="list") {{
  constant(value="{{\\"@timestamp\\":\\"") property(name="timereported" dateFormat="rfc3339")
  constant(value="\\",\\"log\\":\\"") property(name="msg" format="json")
  constant(value="\\",\\"kubernetes\\":{{\\"namespace_name\\":\\"") property(name="hostname" format="json")
  constant(value="\\",\\"pod_name\\":\\"") property(name="programname" format="json")
  constant(value="\\"}}}}")
}}
action(type="omkafka" broker=["{broker}"] topic="{topic}" template="fluentbit"
       resubmitOnFailure="on" keepFailedMessages="on" confParam=["enable.idempotence=true"])
"""


def record(number: int) -> bytes:
    kubernetes = {"pod_name": "store-0", "namespace_name": "shop", "container_name": "store", "host": "n1"}
    return json.dumps({"@timestamp": time.time(), "log": f"INFO served {number}", "kubernetes": kubernetes}).encode()


def rows_of(broker: Broker, topic: str) -> tuple[Counter[str], set[str]]:
    """Return how often each text came, and of which entities."""
    found = [one.value() for one in messages(broker, topic)]
    decoded = format_of("fluentbit", Identity("demo")).decode(found, range(len(found)), topic)
    assert not decoded.letters, decoded.letters[0].reason
    return Counter(text.strip() for text in decoded.rows["body"]), set(decoded.rows["entity"])


def test_a_worker_finds_every_line_that_kcat_produced(
    kcat: Callable[..., None], broker: Broker, tmp_path: Path
) -> None:
    topic = create_topic(broker, 2, "kcat")
    kcat(broker.bootstrap, topic, [record(number) for number in range(LINES)])
    texts, entities = rows_of(broker, topic)
    assert texts == Counter({f"INFO served {number}": 1 for number in range(LINES)})
    assert entities == {"demo/service/shop/store"}
    end(broker, topic, 2)
    name, formats = f"kcat-{time.time_ns()}", {topic: "fluentbit"}
    cluster = Cluster.over(broker.bootstrap, tmp_path, name, formats, scope="demo", resolution_s=10, partitions=2)
    with working(cluster):
        cluster.start()
        cluster.wait_until_done()
        assert cluster.stop() == [0]
        rows = json.loads((cluster.export() / "summary.json").read_text())["rows"]
    assert (rows["accepted"], rows["late"], rows["dead_lettered"]) == (LINES, 0, 0)


def test_what_rsyslog_ships_is_found_once(rsyslog: Callable[[str], Rsyslog], broker: Broker) -> None:
    topic = create_topic(broker, 2, "rsyslog")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.123456+00:00", time.gmtime())
    lines = [f"<14>1 {stamp} shop store-0 - - - INFO served {number}" for number in range(LINES)]
    with rsyslog(RULES.format(broker=broker.bootstrap, topic=topic)) as shipper:
        shipper.send(lines)
        assert eventually(lambda: len(messages(broker, topic)) >= LINES, 60, 0.5), shipper.last_words()
    texts, entities = rows_of(broker, topic)
    assert texts == Counter({f"INFO served {number}": 1 for number in range(LINES)})
    assert entities == {"demo/service/shop/store"}
