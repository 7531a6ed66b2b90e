"""librdkafka's security settings in the words of Faust and its driver, so that one setting serves both clients."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from engine.errors import ConfigError

KNOWN: Final = (
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
)


def faust_credentials(security: Mapping[str, str]) -> Any:
    """Return Faust's credentials, or None for a plain connection; raise ConfigError on a key that it cannot follow."""
    import faust

    if unknown := sorted(security.keys() - set(KNOWN)):
        raise ConfigError(f"kafka.security.{unknown[0]} is not known to the worker; it knows {', '.join(KNOWN)}")
    protocol = security.get("security.protocol", "PLAINTEXT").upper()
    if protocol == "PLAINTEXT":
        return None
    context = _context(security) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    mechanism = security.get("sasl.mechanism", security.get("sasl.mechanisms", "")).upper()
    if protocol not in ("SASL_PLAINTEXT", "SASL_SSL") or mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise ConfigError(
            f"kafka.security: the worker cannot use protocol {protocol} with mechanism '{mechanism}'; it knows SSL, "
            "and SASL_PLAINTEXT or SASL_SSL with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
        )
    return faust.SASLCredentials(
        username=security.get("sasl.username"),
        password=security.get("sasl.password"),
        mechanism=mechanism,
        ssl_context=context,
    )


def _context(security: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.get("ssl.ca.location"))
        if "ssl.certificate.location" in security:
            context.load_cert_chain(
                security["ssl.certificate.location"],
                security.get("ssl.key.location"),
                security.get("ssl.key.password"),
            )
    except OSError as error:
        raise ConfigError(f"kafka.security: the certificates cannot be read: {error}") from error
    return context
