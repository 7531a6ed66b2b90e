"""What librdkafka says beside its answers becomes one line that says what to do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.trouble import Refused, Trouble, addresses


@dataclass(frozen=True)
class Said:
    """An error as librdkafka tells it."""

    code: str
    text: str

    def name(self) -> str:
        return self.code

    def str(self) -> str:
        return self.text


DOWN = Said("_ALL_BROKERS_DOWN", "1/1 brokers are down")
PASSWORD = Said("_AUTHENTICATION", "sasl://x:1: SASL authentication error: no (after 300ms in state AUTH_REQ)")
MECHANISM = Said("_AUTHENTICATION", "x:1: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN (after 1ms")
NO_USERS = Said("_AUTHENTICATION", "x:1: Unsupported SASL mechanism: broker's supported mechanisms: ")
CERTIFICATE = Said("_TRANSPORT", "x:1: Receive failed: ssl/tls alert bad certificate: SSL alert number 42")
CLOSED = Said("_TRANSPORT", "x:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused")
UNKNOWN = Said("_RESOLVE", "x:1/bootstrap: Failed to resolve 'x:1': Name or service not known")
PLAIN = Said("_TRANSPORT", "ssl://x:1: closed by peer: connecting to a PLAINTEXT broker listener?")


@pytest.mark.parametrize(
    ("heard", "refused", "says"),
    [
        ([PASSWORD, DOWN], True, "password"),
        ([MECHANISM], True, "it takes PLAIN"),
        ([NO_USERS], True, "it takes none: that port asks for no user"),
        ([CERTIFICATE], True, "ssl.key.location"),
        ([DOWN, Said("_SSL", "ssl://x:1/bootstrap: SSL handshake failed: something new")], True, "something new"),
        ([CLOSED, DOWN], False, "is it running"),
        ([UNKNOWN], False, "is kafka.bootstrap"),
        ([PLAIN], False, "security.protocol"),
        ([DOWN], False, "no answer"),
        ([], False, "no answer"),
    ],
)
def test_each_trouble_is_one_line(heard: list[Said], refused: bool, says: str) -> None:
    trouble = Trouble()
    for one in heard:
        trouble(one)
    error = trouble.error(KafkaConfig("127.0.0.1:1", (), ()))
    assert (trouble.refused, isinstance(error, Refused)) == (refused, refused)
    assert says in str(error) and str(error).startswith("kafka: ") and "\n" not in str(error)


def test_the_brokers_of_a_setting() -> None:
    told = KafkaConfig("a:1, PLAINTEXT://b:2,[::1]:3,nonsense", (), ())
    assert list(addresses(told)) == [("a", 1), ("b", 2), ("::1", 3)]
