"""What `opsbrain doctor` looks at: each check says what it found, and what to do if that is not good."""

from __future__ import annotations

import importlib.util
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import OpsBrainError, SourceError
from opsbrain import __version__
from opsbrain.settings import Kafka, Settings

BROKER_TIMEOUT_S: Final = 5.0
_EXTRAS: Final = {"torch": ("lstm", "the LSTM forecaster"), "prophet": ("prophet", "the Prophet forecaster")}


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check: "ok", "note" (something is not there, nothing needs it) or "failed"."""

    name: str
    outcome: str
    text: str


def check_up(settings: Settings) -> list[Finding]:
    """Return a finding for each check."""
    return [
        Finding("opsbrain", "ok", f"{__version__} on Python {platform.python_version()}, {sys.platform}"),
        *_extras(settings),
        _try("detectors", lambda: _detectors(settings)),
        _try("notify", lambda: _notifiers(settings)),
        _try("store.folder", lambda: _writable(settings.store.folder)),
        _try("kafka", lambda: _broker(settings.kafka)) if settings.kafka.bootstrap else _no_broker(),
    ]


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", check())
    except OpsBrainError as error:
        return Finding(name, "failed", str(error))


def _extras(settings: Settings) -> Iterator[Finding]:
    for module, (extra, what) in _EXTRAS.items():
        if importlib.util.find_spec(module) is not None:
            yield Finding(f"extra {extra}", "ok", f"{what} can run")
        elif extra in settings.detectors.enabled:
            yield Finding(f"extra {extra}", "failed", f"detectors.enabled names it: pip install 'opsbrain[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "note", f"not installed; only {what} needs it")


def _detectors(settings: Settings) -> str:
    from detectors.registry import build

    for name in settings.detectors.enabled:
        build(name, settings.detectors.options.get(name, {}))
    return f"{', '.join(settings.detectors.enabled) or 'none'} enabled"


def _notifiers(settings: Settings) -> str:
    from opsbrain.notify.registry import build_notifiers

    names = [one.name for one in build_notifiers(settings.notify)]
    return f"{', '.join(names)} will be told" if names else "nobody will be told"


def _writable(folder: Path) -> str:
    existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise SourceError(f"{folder}: cannot be written: {error.strerror}; change it or set store.folder") from error
    return f"{folder} can be written" if existing == folder.absolute() else f"{folder} will be made"


def _broker(kafka: Kafka) -> str:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    security = {name: secret.reveal(f"kafka.security.{name}") for name, secret in kafka.security.items()}
    try:
        client = AdminClient({"bootstrap.servers": kafka.bootstrap, **security}, logger=_silent())
        topics = client.list_topics(timeout=BROKER_TIMEOUT_S).topics
    except KafkaException as error:
        raise SourceError(
            f"{kafka.bootstrap}: no broker answers ({error.args[0].str()}); see kafka.bootstrap"
        ) from error
    missing = [one.topic for one in kafka.telemetry if one.topic not in topics]
    if missing:
        raise SourceError(f"{kafka.bootstrap}: topics of kafka.telemetry are not there: {', '.join(missing)}")
    return f"{kafka.bootstrap} answers, {len(topics)} topics"


def _silent() -> object:
    """Return a logger that keeps librdkafka's own lines off the terminal; our finding says it in one."""
    import logging

    logger = logging.getLogger("opsbrain.checkup.kafka")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _no_broker() -> Finding:
    return Finding("kafka", "note", "no kafka.bootstrap is set; only `opsbrain worker` needs one")
