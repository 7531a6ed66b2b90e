"""Why no broker can be talked to, in one line that says what to do.

librdkafka tells a wrong password, an unknown authority and a broker that is away alike ("transport failure"); what it
saw stands only in what it tells beside. A certificate that it refuses is looked at a second time with Python's TLS,
which says what is wrong with it.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

from engine.errors import ConfigError, Retryable
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.credentials import OAUTH, mechanism_of, tls_context

_TIMEOUT_S: Final = 2.0
_PAUSE_S: Final = 1.0
_AFTER: Final = re.compile(r" \(after \d+ms in state \w+\).*$")


class Refused(Retryable):
    """A broker answers, and refuses us or is not the one it should be: it will not get better by itself."""


class Trouble:
    """Hears what a client of librdkafka says beside its answers (`error_cb`)."""

    def __init__(self) -> None:
        self._heard: dict[str, str] = {}

    def __call__(self, error: Any) -> None:
        """Take one error; only the first of a kind is kept, since librdkafka repeats itself."""
        self._heard.setdefault(error.name(), _AFTER.sub("", error.str()))

    @property
    def refused(self) -> bool:
        """Whether a broker has refused us, or we it: there is no use in waiting."""
        return "_AUTHENTICATION" in self._heard or "_SSL" in self._heard or self._asks_for_certificate

    @property
    def _asks_for_certificate(self) -> bool:
        return "alert bad certificate" in self._heard.get("_TRANSPORT", "") or "certificate required" in str(
            self._heard
        )

    def error(self, config: KafkaConfig) -> Retryable:
        """Return the error to raise; Refused where waiting does not help."""
        if (said := self._heard.get("_AUTHENTICATION")) is not None:
            return Refused(f"kafka: {config.bootstrap}: {_of_authentication(config, said)}", _PAUSE_S)
        if self._asks_for_certificate:
            return Refused(
                f"kafka: {config.bootstrap}: the broker asks for another certificate of ours; set "
                "ssl.certificate.location and ssl.key.location of kafka.security",
                _PAUSE_S,
            )
        if "_SSL" in self._heard:
            return Refused(f"kafka: {config.bootstrap}: {_of_tls(config, self._heard['_SSL'])}", _PAUSE_S)
        return Retryable(f"kafka: no broker answers at {config.bootstrap} ({self._why(config)})", _PAUSE_S)

    def _why(self, config: KafkaConfig) -> str:
        if (said := self._heard.get("_RESOLVE")) is not None:
            return f"{said.split(': ', 1)[-1]}; is kafka.bootstrap right?"
        said = self._heard.get("_TRANSPORT", "")
        protocol = config.security.get("security.protocol", "plaintext").upper()
        if "PLAINTEXT broker" in said or (not said and any(_listens(*one) for one in addresses(config))):
            return f"something listens there, but not for {protocol}; is security.protocol of kafka.security right?"
        if "Connection refused" in said:
            return "connection refused; is it running, and is kafka.bootstrap right?"
        return f"{said.split(': ', 1)[-1] or 'no answer'}; is it running, and is kafka.bootstrap right?"


def addresses(config: KafkaConfig) -> Iterator[tuple[str, int]]:
    """Yield host and port of each broker of `kafka.bootstrap`."""
    for one in config.bootstrap.split(","):
        host, _, port = one.strip().rpartition("://")[2].rpartition(":")
        if port.isdigit():
            yield host.strip("[]"), int(port)


def _of_authentication(config: KafkaConfig, said: str) -> str:
    if "upported mechanisms" in said or "Unsupported SASL mechanism" in said:
        offered = said.rpartition("supported mechanisms: ")[2] or "none: that port asks for no user"
        return f"the broker does not take this sasl.mechanism of kafka.security; it takes {offered}"
    if mechanism_of(config.security) == OAUTH:
        return f"no token, or one that the broker refuses; see sasl.oauthbearer.* of kafka.security ({said[-200:]})"
    return (
        "the broker refuses the user or its password; see sasl.username, sasl.password and sasl.mechanism of "
        "kafka.security"
    )


def _of_tls(config: KafkaConfig, said: str) -> str:
    """Return what is wrong between us and the first broker whose certificate we do not take."""
    try:
        context = tls_context(config.security)
    except ConfigError as error:
        return str(error)
    for host, port in addresses(config):
        try:
            with (
                socket.create_connection((host, port), timeout=_TIMEOUT_S) as plain,
                context.wrap_socket(plain, server_hostname=host),
            ):
                pass
        except ssl.SSLCertVerificationError as error:
            return _of_certificate(host, error)
        except OSError:
            continue
    return said.split(": ", 1)[-1]


def _of_certificate(host: str, error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message.rstrip(".")
    if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        return f"the broker's certificate is not for {host} ({said}); use a name that it holds in kafka.bootstrap"
    if error.verify_code in (9, 10):  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
        return f"the broker's certificate is out of date ({said}); renew it, or see this machine's clock"
    return (
        f"the broker's certificate is of an authority that is not known here ({said}); name its file as "
        "ssl.ca.location of kafka.security"
    )


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_TIMEOUT_S).close()
    except OSError:
        return False
    return True
