"""One setting of librdkafka's security serves Faust too, or is refused."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.runners.kafka.credentials import faust_credentials


def test_a_plain_connection_needs_none() -> None:
    assert faust_credentials({}) is None


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [("SASL_PLAINTEXT", "PLAIN"), ("sasl_ssl", "SCRAM-SHA-256"), ("SASL_SSL", "SCRAM-SHA-512")],
)
def test_a_name_and_a_password(protocol: str, mechanism: str) -> None:
    told = {"security.protocol": protocol, "sasl.mechanisms": mechanism, "sasl.username": "u", "sasl.password": "p"}
    made = faust_credentials(told)
    assert (made.protocol.value, made.mechanism.value) == (protocol.upper(), mechanism)
    assert (made.username, made.password) == ("u", "p")


def test_certificates_alone() -> None:
    assert faust_credentials({"security.protocol": "SSL"}).protocol.value == "SSL"


@pytest.mark.parametrize(
    ("security", "says"),
    [
        ({"ssl.engine.location": "x"}, "ssl.engine.location"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}, "GSSAPI"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere"}, "cannot be read"),
    ],
)
def test_what_it_cannot_follow_is_refused(security: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        faust_credentials(security)
