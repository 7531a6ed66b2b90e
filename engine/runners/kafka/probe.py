"""One connection to each broker of `kafka.bootstrap` by Faust's driver: does it come through, and what does it speak?

librdkafka is asked elsewhere. That both come through is not one thing: each has TLS and passwords of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.credentials import faust_credentials
from engine.runners.kafka.trouble import addresses

_TIMEOUT_MS: Final = 3_000
_PRODUCE: Final = 0
_FETCH: Final = 1
# The highest version of a request that a release of Apache Kafka was the first to take (its protocol guide).
_RELEASES: Final = (
    ("4.1", _PRODUCE, 13),
    ("4.0", _PRODUCE, 12),
    ("3.9", _FETCH, 17),
    ("3.7", _FETCH, 16),
    ("3.5", _FETCH, 15),
    ("3.1", _FETCH, 13),
    ("2.7", _FETCH, 12),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one address: why it did not work ("" when it did), and versions by request."""

    address: str
    error: str
    versions: Mapping[int, int] = field(default_factory=dict)


def probe(config: KafkaConfig) -> list[Answer]:
    """Return what each broker of `kafka.bootstrap` answers, in their order; takes a few seconds at most."""
    return asyncio.run(_all(config))


def release_of(versions: Mapping[int, int]) -> str:
    """Return the release of Apache Kafka whose protocol a broker speaks, as "4.0 or newer".

    >>> release_of({0: 12, 1: 17})
    '4.0 or newer'
    """
    for release, request, version in _RELEASES:
        if versions.get(request, -1) >= version:
            return f"{release} or newer"
    return "older than 2.7"


async def _all(config: KafkaConfig) -> list[Answer]:
    return list(await asyncio.gather(*(_one(config, host, port) for host, port in addresses(config))))


async def _one(config: KafkaConfig, host: str, port: int) -> Answer:
    from aiokafka.conn import create_conn
    from aiokafka.errors import KafkaError
    from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # what it warns of, the password in the clear, we say
    told = credentials_to_aiokafka_auth(faust_credentials(config.security))
    address = f"{host}:{port}"
    try:
        connection = await create_conn(host, port, request_timeout_ms=_TIMEOUT_MS, **told)
    except ssl.SSLError as error:
        return Answer(address, getattr(error, "verify_message", "") or str(error.reason))
    except OSError as error:
        return Answer(address, _reason(error))
    except KafkaError as error:
        return Answer(address, str(error) or type(error).__name__)
    try:
        return Answer(address, "", {key: highest for key, (_, highest) in connection._versions.items()})
    finally:
        connection.close()


def _reason(error: OSError) -> str:
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return error.strerror or "no answer"
