"""One setting of librdkafka's security serves Faust too, or is refused."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.runners.kafka.credentials import CERTIFICATE, check_security, faust_credentials, principal, tls_context

TOKEN = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.token.endpoint.url": "https://id.example.com/token",
    "sasl.oauthbearer.client.id": "opsbrain",
    "sasl.oauthbearer.client.secret": "hush",
}
NAMED = {"sasl.username": "u", "sasl.password": "p"}


def test_a_plain_connection_needs_none() -> None:
    assert faust_credentials({}) is None


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [("SASL_PLAINTEXT", "PLAIN"), ("sasl_ssl", "SCRAM-SHA-256"), ("SASL_SSL", "SCRAM-SHA-512")],
)
def test_a_name_and_a_password(protocol: str, mechanism: str) -> None:
    made = faust_credentials({"security.protocol": protocol, "sasl.mechanisms": mechanism, **NAMED})
    assert (made.protocol.value, made.mechanism.value) == (protocol.upper(), mechanism)
    assert (made.username, made.password) == ("u", "p")


def test_certificates_alone() -> None:
    assert faust_credentials({"security.protocol": "SSL"}).protocol.value == "SSL"


def test_tokens() -> None:
    made = faust_credentials(TOKEN)
    assert (made.protocol.value, made.mechanism.value) == ("SASL_SSL", "OAUTHBEARER")


@pytest.mark.parametrize(
    ("more", "checks_name", "mode"),
    [
        ({}, True, ssl.CERT_REQUIRED),
        ({"ssl.ca.location": "probe"}, True, ssl.CERT_REQUIRED),
        ({"ssl.endpoint.identification.algorithm": "none"}, False, ssl.CERT_REQUIRED),
        ({"enable.ssl.certificate.verification": "false"}, False, ssl.CERT_NONE),
    ],
)
def test_what_is_verified(more: dict[str, str], checks_name: bool, mode: ssl.VerifyMode) -> None:
    context = tls_context(more)
    assert (context.check_hostname, context.verify_mode) == (checks_name, mode)


@pytest.mark.parametrize(
    ("security", "says"),
    [
        ({"ssl.engine.location": "x"}, "ssl.engine.location"),
        ({"ssl.keystore.location": "x.p12"}, "openssl pkcs12"),
        ({"security.protocol": "TLS"}, "TLS is none of"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}, "GSSAPI"),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u"}, "sasl.password"),
        ({**TOKEN, "sasl.oauthbearer.method": "default"}, "must be oidc"),
        ({**TOKEN, "sasl.oauthbearer.client.secret": ""}, "client.secret: is needed for SASL_SSL with OAUTHBEARER"),
        ({**TOKEN, "sasl.oauthbearer.token.endpoint.url": "file:///x"}, "must begin with https"),
        ({"sasl.mechanism": "PLAIN", **NAMED}, "PLAINTEXT sends no user"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere"}, "ssl.ca.location: cannot be read: No such file"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "nonsense"}, "a file is named by ssl.ca.location"),
        ({"security.protocol": "SSL", "ssl.certificate.location": "/nowhere"}, "ssl.certificate.location"),
        ({"security.protocol": "SSL", "ssl.certificate.pem": "nonsense"}, "ssl.certificate.location"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "-----END"}, "ssl.ca.pem: cannot be read"),
        ({"security.protocol": "SSL", "ssl.crl.location": "/nowhere"}, "ssl.crl.location"),
        ({"security.protocol": "SSL", "ssl.cipher.suites": "nonsense"}, "ssl.cipher.suites"),
    ],
)
def test_what_it_cannot_follow_is_refused(security: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        check_security(security)
    assert "\n" not in str(refused.value)


def test_a_certificate_given_as_text_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError):
        tls_context({"ssl.certificate.pem": "nonsense", "ssl.key.pem": "nonsense"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("security", "who"),
    [
        ({}, "User:ANONYMOUS"),
        ({"security.protocol": "SSL"}, "User:ANONYMOUS"),
        ({"security.protocol": "SSL", "ssl.certificate.location": "x"}, CERTIFICATE),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", **NAMED}, "User:u"),
        (TOKEN, "User:opsbrain"),
    ],
)
def test_who_we_are_to_the_rights(security: dict[str, str], who: str) -> None:
    assert principal(security) == who
