"""librdkafka's security settings in the words of Faust and its driver, so that one setting serves both clients."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError

KNOWN: Final = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.extensions",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.crl.location",
    "ssl.cipher.suites",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
)
_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
OAUTH: Final = "OAUTHBEARER"
_USER: Final = ("sasl.username", "sasl.password")
_CLIENT: Final = (
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
)
_NEEDED: Final = {"PLAIN": _USER, "SCRAM-SHA-256": _USER, "SCRAM-SHA-512": _USER, OAUTH: _CLIENT}
"""What each mechanism needs to be told."""
_PREFIX: Final = "kafka.security"
CERTIFICATE: Final = "the owner of the certificate"
"""Who we are where a certificate says it: to the broker its subject, unless a rule there makes another of it."""


def faust_credentials(security: Mapping[str, str]) -> Any:
    """Return Faust's credentials, or None for a plain connection; raise ConfigError on a key that it cannot follow."""
    import faust

    protocol = _protocol(security)
    check_security(security)
    if protocol == "PLAINTEXT":
        return None
    context = tls_context(security) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    if mechanism_of(security) == OAUTH:
        return _token_credentials(security, context)
    return faust.SASLCredentials(
        username=security["sasl.username"],
        password=security["sasl.password"],
        mechanism=mechanism_of(security),
        ssl_context=context,
    )


def check_security(security: Mapping[str, str]) -> None:
    """Raise ConfigError for what one of our two clients could not follow, is missing, or names a file in vain."""
    if "ssl.keystore.location" in security:
        raise ConfigError(
            f"{_PREFIX}.ssl.keystore.location: the worker reads PEM alone; `openssl pkcs12 -in KEYSTORE "
            "-out client.pem` makes a file for ssl.certificate.location and ssl.key.location"
        )
    if unknown := sorted(security.keys() - set(KNOWN)):
        raise ConfigError(f"{_PREFIX}.{unknown[0]} is not known to the worker; it knows {', '.join(KNOWN)}")
    protocol = _protocol(security)
    if protocol not in _PROTOCOLS:
        raise ConfigError(f"{_PREFIX}.security.protocol: {protocol} is none of {', '.join(_PROTOCOLS)}")
    if protocol.startswith("SASL"):
        _check_user(security, protocol)
    for name in ("ssl.ca", "ssl.certificate", "ssl.key"):
        if "-----END" not in security.get(f"{name}.pem", "-----END"):
            raise ConfigError(f"{_PREFIX}.{name}.pem: holds no PEM; a file is named by {name}.location")
    if not protocol.startswith("SASL") and "sasl.password" in security:
        raise ConfigError(f"{_PREFIX}.security.protocol: {protocol} sends no user; set SASL_SSL, or SASL_PLAINTEXT")
    if protocol.endswith("SSL"):
        tls_context(security)


def _check_user(security: Mapping[str, str], protocol: str) -> None:
    if (mechanism := mechanism_of(security)) not in _NEEDED:
        raise ConfigError(f"{_PREFIX}.sasl.mechanism: '{mechanism}' is none of {', '.join(_NEEDED)}")
    for name in _NEEDED[mechanism]:
        if not security.get(name):
            raise ConfigError(f"{_PREFIX}.{name}: is needed for {protocol} with {mechanism}")
    if mechanism == OAUTH and security.get("sasl.oauthbearer.method", "").lower() != "oidc":
        raise ConfigError(f"{_PREFIX}.sasl.oauthbearer.method: must be oidc; without it nobody would fetch a token")
    if mechanism == OAUTH and not security[_CLIENT[0]].startswith(("https://", "http://")):
        raise ConfigError(f"{_PREFIX}.{_CLIENT[0]}: must begin with https:// (or http://)")


def _token_credentials(security: Mapping[str, str], context: ssl.SSLContext | None) -> Any:
    import faust

    from engine.runners.kafka.oauth import token_provider

    return faust.OAuthCredentials(oauth_cb=token_provider(security), ssl_context=context)


def tls_context(security: Mapping[str, str]) -> ssl.SSLContext:
    """Return what Python's TLS needs to know; raise ConfigError for a file that cannot be read."""
    context = _trusting(security)
    _with_certificate(context, security)
    if (ciphers := security.get("ssl.cipher.suites")) is not None:
        with _naming("ssl.cipher.suites"):
            context.set_ciphers(ciphers)
    return context


def principal(security: Mapping[str, str]) -> str:
    """Return who we are to the broker's rights, as its tools write it, or CERTIFICATE."""
    protocol = _protocol(security)
    if protocol.startswith("SASL"):
        name = "sasl.oauthbearer.client.id" if mechanism_of(security) == OAUTH else "sasl.username"
        return f"User:{security.get(name, '')}"
    if protocol == "SSL" and ("ssl.certificate.location" in security or "ssl.certificate.pem" in security):
        return CERTIFICATE
    return "User:ANONYMOUS"


def _protocol(security: Mapping[str, str]) -> str:
    return security.get("security.protocol", "PLAINTEXT").upper()


def mechanism_of(security: Mapping[str, str]) -> str:
    """Return how a user says who it is, in capitals; "" when it does not."""
    return security.get("sasl.mechanism", security.get("sasl.mechanisms", "")).upper()


def _trusting(security: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that trusts whom librdkafka would trust."""
    place = security.get("ssl.ca.location", "probe")
    told: dict[str, str] = {}
    if "ssl.ca.pem" in security:
        told["cadata"] = security["ssl.ca.pem"]
    elif place != "probe":  # librdkafka's word for "where this system keeps them"
        told["capath" if Path(place).is_dir() else "cafile"] = place
    with _naming("ssl.ca.pem" if "cadata" in told else "ssl.ca.location"):
        context = ssl.create_default_context(**told)  # type: ignore[arg-type]
    if "ssl.crl.location" in security:
        with _naming("ssl.crl.location"):
            context.load_verify_locations(security["ssl.crl.location"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    verified = security.get("enable.ssl.certificate.verification", "true").lower() not in ("false", "0")
    if not verified or security.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if not verified:
        context.verify_mode = ssl.CERT_NONE
    return context


def _with_certificate(context: ssl.SSLContext, security: Mapping[str, str]) -> None:
    with _as_file(security, "ssl.certificate") as certificate, _as_file(security, "ssl.key") as key:
        if certificate is not None:
            with _naming("ssl.certificate.location (or ssl.key.location, ssl.key.password)"):
                # without a password of its own, OpenSSL would ask for one at the terminal
                context.load_cert_chain(certificate, key, security.get("ssl.key.password", ""))


@contextmanager
def _naming(key: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_PREFIX}.{key}: cannot be read: {_said(error)}") from error


@contextmanager
def _as_file(security: Mapping[str, str], key: str) -> Iterator[str | None]:
    """Give the path of a certificate or key; one that is given as text is a file of ours meanwhile."""
    if (text := security.get(f"{key}.pem")) is None:
        yield security.get(f"{key}.location")
        return
    handle, path = tempfile.mkstemp(prefix="opsbrain-", suffix=".pem")  # readable by us alone
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        os.unlink(path)


def _said(error: OSError | ValueError) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
