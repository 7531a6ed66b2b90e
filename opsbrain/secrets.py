"""Values that are used but never shown."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import ConfigError


class Secret:
    """A value whose text never appears in a repr, an error or a log.

    Written in settings as `env:NAME` (an environment variable), `file:PATH` (the first line of a file, which is how
    Kubernetes mounts secrets), or as the value itself (handy for a try-out; then the settings file is a secret too).
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self, key: str) -> str:
        """Return the value itself, or raise ConfigError that names `key` when it cannot be had."""
        scheme, _, name = self._text.partition(":")
        if scheme == "env":
            value = os.environ.get(name)
            if not value:
                raise ConfigError(f"{key}: environment variable {name} is not set")
            return value
        if scheme == "file":
            return _first_line(Path(name), key)
        return self._text


def _first_line(path: Path, key: str) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: cannot read {path}: {_reason(error)}") from error
    if not lines or not lines[0].strip():
        raise ConfigError(f"{key}: {path} is empty; its first line must be the secret")
    return lines[0].strip()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or "not readable as text"
