"""What long-running commands say on standard error: lines for people, or JSON objects for what collects logs.

{"ts": "2026-05-04T10:00:00.123Z", "level": "warning", "logger": "engine.runners.kafka.decode", "msg": "..."}, and what
was given as `extra=`. Secrets of the settings never get there, whoever puts them into a message: their values are known
and replaced. What other people's libraries say below a warning is left out.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import typer

from engine.errors import ConfigError
from opsbrain.secrets import Secret
from opsbrain.settings import Settings

OURS: Final = ("engine", "ingest", "models", "detectors", "rca", "autofix", "opsbrain")
SAYS: Final = "opsbrain.says"
"""The logger of what is said at any level, as where we listen."""

HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 4  # shorter ones would take half of every line with them, and protect nothing
_SECRET_KEYS: Final = ("password", "secret", "key.pem", "jaas", "oauthbearer.config")  # of librdkafka; others are paths
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def start_logging(settings: Settings, who: str) -> None:
    """Say what is logged on standard error from now on, as settings want it; `who` begins the lines for people."""
    formatter: logging.Formatter = logging.Formatter(f"{who}: %(message)s")
    if settings.log.format == "json":
        formatter = JsonFormatter()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Discreet(formatter, secrets_of(settings)))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(settings.log.level.upper())
    logging.getLogger(SAYS).setLevel(logging.INFO)


def say(text: str) -> None:
    """Log something that is neither good nor bad at any level, as where we listen."""
    logging.getLogger(SAYS).info("%s", text)


def tell(settings: Settings, text: str) -> None:
    """Tell whoever runs us, on standard output; as a line of the log where those are for programs."""
    if settings.log.format == "json":
        say(text)
    else:
        typer.echo(text)


def fail(text: str) -> bool:
    """Log what ends the process, where logs are for programs; return whether they are."""
    handlers = logging.getLogger().handlers
    if not any(isinstance(one.formatter, Discreet) and one.formatter.for_programs for one in handlers):
        return False
    logging.getLogger(SAYS).error("%s", text)
    return True


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {
            "ts": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        told |= {name: value for name, value in vars(record).items() if name not in _PLAIN and name not in told}
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(told, enc_hook=str).decode()


class Discreet(logging.Formatter):
    """Takes secrets out of what another formatter writes."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        written = {form for one in secrets for form in (one, msgspec.json.encode(one).decode()[1:-1])}
        self._secrets = sorted((one for one in written if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)

    @property
    def for_programs(self) -> bool:
        """Return whether the lines are JSON."""
        return isinstance(self._inner, JsonFormatter)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with every secret in it replaced."""
        line = self._inner.format(record)
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        return line


def secrets_of(settings: Settings) -> list[str]:
    """Return the values of all secrets that can be had; who needs one that cannot says so itself."""
    return sorted(set(_revealed(settings)) - {""})


def _revealed(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        try:
            yield value.reveal("")
        except ConfigError:
            return
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _revealed(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for name, below in value.items():
            if not isinstance(below, Secret) or any(part in name for part in _SECRET_KEYS):
                yield from _revealed(below)
    elif isinstance(value, tuple):
        for below in value:
            yield from _revealed(below)
