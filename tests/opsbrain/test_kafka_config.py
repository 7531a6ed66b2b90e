"""From settings to the Kafka runner's configuration."""

import pytest

from engine.errors import ConfigError
from opsbrain.kafka_config import kafka_config
from opsbrain.settings_load import load_settings


def config(*flags: str):
    return kafka_config(load_settings(None, {}, ("kafka.bootstrap=127.0.0.1:9092", *flags)))


def test_the_memory_ceiling_reaches_the_runner():
    assert config("worker.memory_limit_mb=512").memory_limit_bytes == 512 << 20


@pytest.mark.parametrize("text", ["2026-11-21T06:00:00Z", "2026-11-21T07:00:00+01:00"])
def test_telemetry_is_read_from_a_time_on(text):
    assert config(f"kafka.start_from={text}").start_from_ms == 1_795_240_800_000


def test_without_a_time_it_is_read_from_the_first_message():
    assert config().start_from_ms is None


@pytest.mark.parametrize("text", ["yesterday", "2026-11-21T06:00:00", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_one_line_that_names_the_key(text):
    with pytest.raises(ConfigError, match=r"kafka\.start_from: .* is not a time with its zone"):
        config(f"kafka.start_from={text}")


@pytest.mark.parametrize("text", ["127.0.0.1", "a:http", "a:0", "a:99999", ":9092", "a:1,,b:2"])
def test_an_address_without_host_or_port_is_one_line_that_names_the_key(text):
    with pytest.raises(ConfigError, match=r"kafka\.bootstrap: .* is not host:port"):
        config(f"kafka.bootstrap={text}")


@pytest.mark.parametrize("text", ["a:1", "a:1, b:2", "PLAINTEXT://a:1", "[::1]:9092"])
def test_addresses_are_taken_as_clients_know_them(text):
    assert config(f"kafka.bootstrap={text}").bootstrap == text


@pytest.mark.parametrize("text", ["", "a b/c", "..", "x" * 250])
def test_what_cannot_be_a_topic_is_one_line_that_names_the_key(text):
    with pytest.raises(ConfigError, match=r"kafka\.telemetry\[0\]\.topic: .* cannot be the name of a topic"):
        config(f"kafka.telemetry=[{{topic='{text}', format='fluentbit'}}]")


def test_a_topic_has_one_format():
    with pytest.raises(ConfigError, match=r"kafka\.telemetry: the topic m is there twice"):
        config("kafka.telemetry=[{topic='m', format='prometheus-adapter'}, {topic='m', format='fluentbit'}]")
