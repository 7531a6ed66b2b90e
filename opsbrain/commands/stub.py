"""What a command says that is not wired yet."""

from __future__ import annotations

from typing import NoReturn

from engine.errors import OpsBrainError


def unwired(command: str) -> NoReturn:
    """Raise the one line that says so."""
    raise OpsBrainError(f"{command}: this command is not wired yet")
