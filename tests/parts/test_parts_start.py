"""Each part starts, answers and stops: what the other tests of this folder rely on."""

import json
import subprocess
import time

import pytest
from confluent_kafka import Consumer

from tests.parts.processes import answers, eventually, fetch


def test_prometheus_2_answers_with_its_version_and_stops(prometheus2):
    answers_with_its_version_and_stops(prometheus2, "2.42.")


def test_prometheus_3_answers_with_its_version_and_stops(prometheus3):
    answers_with_its_version_and_stops(prometheus3, "3.5.")


def answers_with_its_version_and_stops(launch, version):
    with launch({"scrape_configs": []}) as web:
        assert web.get("/api/v1/status/buildinfo")["data"]["version"].startswith(version)
    assert not web.running()
    assert not answers(f"{web.url}/-/ready")


def test_alertmanager_takes_an_alert(alertmanager):
    with alertmanager({"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}) as web:
        alert = [{"labels": {"alertname": "Smoke"}}]
        post(f"{web.url}/api/v2/alerts", alert)
        assert [one["labels"]["alertname"] for one in web.get("/api/v2/alerts")] == ["Smoke"]


def test_the_collector_hands_logs_from_one_to_the_next(collector):
    pipelines = {"logs": {"exporters": ["otlphttp"]}}
    with collector(
        {"exporters": {"otlphttp": {"endpoint": "http://127.0.0.1:9"}}, "service": {"pipelines": pipelines}}
    ) as one:
        record = {"body": {"stringValue": "hello"}}
        body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
        assert post(f"{one.http}/v1/logs", body) == {"partialSuccess": {}}


def test_rsyslog_writes_to_the_broker(rsyslog, broker):
    topic, host, port = fresh_topic(), *broker.bootstrap.split(":")
    rules = (
        'template(name="json" type="list" option.jsonf="on") { property(outname="log" name="msg" format="jsonf") }\n'
        f'module(load="omkafka")\naction(type="omkafka" broker=["{host}:{port}"] topic="{topic}" template="json")'
    )
    with rsyslog(rules) as one:
        one.send(["<14>Nov 21 03:00:00 host app: hello"])
        assert [json.loads(body)["log"].strip() for body in consumed(broker, topic, 1)] == ["hello"]


def test_kcat_writes_to_the_broker(kcat, broker):
    topic = fresh_topic()
    kcat(broker.bootstrap, topic, [b"one", b"two"])
    assert consumed(broker, topic, 2) == [b"one", b"two"]


def test_the_cluster_runs_a_deployment_and_survives_the_loss_of_its_api(cluster, namespace):
    from kubernetes import client, watch
    from kubernetes.client.exceptions import ApiException

    apps, core = client.AppsV1Api(cluster.api()), client.CoreV1Api(cluster.api())
    spec = {"containers": [{"name": "c", "image": "nginx"}]}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template},
    }
    apps.create_namespaced_deployment(namespace, body)
    assert eventually(lambda: apps.read_namespaced_deployment("web", namespace).status.ready_replicas == 3)

    cluster.stop_api()
    cluster.start_api()
    newest = cluster.compact()
    with pytest.raises(ApiException) as gone:
        list(watch.Watch().stream(core.list_event_for_all_namespaces, resource_version="1", timeout_seconds=2))
    assert gone.value.status == 410
    assert newest > 1


def test_the_reader_may_not_see_secrets(cluster):
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException

    core = client.CoreV1Api(config.new_client_from_config(str(cluster.reader_kubeconfig)))
    core.list_pod_for_all_namespaces()
    with pytest.raises(ApiException) as refused:
        core.list_secret_for_all_namespaces()
    assert refused.value.status == 403


def test_a_name_that_is_no_part_is_refused_in_one_line():
    from tests.parts.programs import _BUILD

    done = subprocess.run([_BUILD, "check", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def post(url, body):
    from urllib.request import Request

    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.loads(fetch(request) or b"null")


def fresh_topic():
    return f"smoke.{time.time_ns()}"


def consumed(broker, topic, count):
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    end, bodies = time.monotonic() + 60, []
    while len(bodies) < count and time.monotonic() < end:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            bodies.append(message.value())
    consumer.close()
    return bodies
