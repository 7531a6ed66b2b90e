"""How bad a log line says it is: one of trace, debug, info, warn, error, fatal, from its level field or its text."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

SEVERITIES: Final = ("trace", "debug", "info", "warn", "error", "fatal")

_HEAD_CHARS: Final = 200  # a level stands at the beginning of a line; a word further on is part of the message

_WORDS: Final[dict[str, str]] = {
    **dict.fromkeys(("trace", "trc", "finest", "finer", "verbose", "v", "t"), "trace"),
    **dict.fromkeys(("debug", "dbg", "debug1", "debug2", "debug3", "fine", "config", "d"), "debug"),
    **dict.fromkeys(("info", "inf", "information", "informational", "notice", "log", "normal", "ok", "i", "n"), "info"),
    **dict.fromkeys(("warn", "warning", "wrn", "w"), "warn"),
    **dict.fromkeys(("error", "err", "eror", "severe", "failure", "e"), "error"),
    **dict.fromkeys(("fatal", "critical", "crit", "ftl", "panic", "emerg", "emergency", "alert", "f", "c"), "fatal"),
}
# syslog's (RFC 5424, 6.2.1), and those of pino and bunyan
_SYSLOG: Final = ("fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug")
_TENS: Final = ("trace", "debug", "info", "warn", "error", "fatal")
_NUMBERS: Final = {str(number): severity for number, severity in enumerate(_SYSLOG)} | {
    str(number): severity for number, severity in zip(range(10, 70, 10), _TENS, strict=True)
}

_FIELD: Final = (
    r"""(?i)["']?\b(?:level|severity|loglevel|log_level|lvl|levelname|severity_text)\\?["']?\s*[:=]"""
    r"""\s*\\?["']?([a-z]+\d?|[1-6]0)\b"""
)
_LOUD: Final = (
    r"(?:^|[\s\[(<|:*])(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|CRITICAL|CRIT|FATAL|PANIC|EMERG|ALERT)"
    r"(?:$|[\s\])>|:*,\-])"
)
_BRACKETED: Final = (
    r"(?i)[\[<(](trace|debug|info|notice|warn|warning|error|err|severe|critical|crit|fatal|panic|emerg|alert)[\])>]"
)
_LEADING: Final = (
    r"(?i)^\W{0,3}(trace|debug|info|notice|warn|warning|error|err|severe|critical|fatal|panic)\b\s?[:\]\-|]"
)
_KLOG: Final = r"^([IWEF])\d{4} \d\d:"
_CRASH: Final = (
    r"^(?:Traceback \(most recent call last\)|panic: |Exception in thread "
    r"|(?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error)\b)"
)


# In order: what finds a level, and what a line must hold to be looked at (which changes no result, and is found fast).
_RULES: Final = (
    (_FIELD, "(?i)lev|sev|lvl"),
    (_LOUD, "TRACE|DEBUG|INFO|NOTICE|WARN|ERR|SEVERE|CRIT|FATAL|PANIC|EMERG|ALERT"),
    (_BRACKETED, _BRACKETED),
    (_LEADING, _LEADING),
    (_KLOG, _KLOG),
)
_LOOKS: Final = [pl.col("line").str.contains(needs).fill_null(False).alias(pattern) for pattern, needs in _RULES]


def severity_of_level(levels: pl.Series) -> pl.Series:
    """Return the severity that explicit levels stand for (any case, words or numbers); null where unknown or null."""
    distinct = levels.drop_nulls().unique()
    words = distinct.str.to_lowercase().str.strip_chars()
    known = words.replace_strict(_WORDS | _NUMBERS, default=None, return_dtype=pl.String)
    return levels.replace_strict(distinct, known, default=None, return_dtype=pl.String)


def severity_of_text(lines: pl.Series) -> pl.Series:
    """Return the severity of log lines: same length and order, "info" where a line names none.

    Looks, in this order, for a level field, a level in capitals, a level in brackets, a level that leads the line, the
    letter of klog, and the first line of a crash; in the first 200 characters only.
    """
    head = lines.str.head(_HEAD_CHARS).alias("line")
    looks = head.to_frame().select_seq(_LOOKS)
    level = pl.Series("level", [None], dtype=pl.String).new_from_index(0, len(lines))
    left = np.ones(len(lines), np.bool_)
    for (pattern, _), look in zip(_RULES, looks.iter_columns(), strict=True):
        sought = left & look.to_numpy()
        if sought.any():
            found = head.filter(pl.Series(sought)).str.extract(pattern)
            level = level.scatter(np.flatnonzero(sought), found)
            left[sought] = found.is_null().to_numpy()
    said = severity_of_level(level)
    crashed = (said.is_null() & head.str.contains(_CRASH)).fill_null(False)
    return said.scatter(np.flatnonzero(crashed), "error").fill_null("info").alias("severity")
