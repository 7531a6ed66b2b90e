"""The errors of OpsBrain, and what each one asks of its receiver.

OpsBrainError
├── ConfigError      a setting or an argument is wrong: refuse to start (exit status 2)
├── DataError        one input cannot be read as what it claims to be: count it, dead-letter it, go on
├── SourceError      a file, folder or broker as a whole cannot be read: the work fails (exit status 1)
├── Retryable        the other side may accept the same request later; carries `retry_after_s`
├── Permanent        the other side never will; the text says what an operator should do
└── StateMismatch    saved state belongs to another version or configuration
"""

from __future__ import annotations


class OpsBrainError(Exception):
    """Base of every error that is meant to be read by a person, as one line."""


class ConfigError(OpsBrainError):
    """A setting or argument is wrong; names the key and what to do."""


class DataError(OpsBrainError):
    """One message or row cannot be read; the reason goes to its dead letter."""


class SourceError(OpsBrainError):
    """An input as a whole cannot be read; names the file or address and what to do."""


class Retryable(OpsBrainError):
    """The other side is not ready; the same request may be sent again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(OpsBrainError):
    """The other side refused for good; the message holds 'operator action: ...'."""


class StateMismatch(OpsBrainError):
    """Saved state does not fit this program or these settings; the message says how to go on."""
