"""How bad a log line says it is: one of trace, debug, info, warn, error, fatal, from its level field or its text."""

from __future__ import annotations

from typing import Final

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
# pino and bunyan write levels as numbers
_NUMBERS: Final = {"10": "trace", "20": "debug", "30": "info", "40": "warn", "50": "error", "60": "fatal"}

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


def severity_of_level(levels: pl.Series) -> pl.Series:
    """Return the severity that explicit levels stand for (any case, words or numbers); null where unknown or null."""
    words = levels.str.to_lowercase().str.strip_chars()
    return words.replace_strict(_WORDS | _NUMBERS, default=None, return_dtype=pl.String)


def severity_of_text(lines: pl.Series) -> pl.Series:
    """Return the severity of log lines: same length and order, "info" where a line names none.

    Looks, in this order, for a level field, a level in capitals, a level in brackets, a level that leads the line, the
    letter of klog, and the first line of a crash; in the first 200 characters only.
    """
    head = pl.col("line").str.head(_HEAD_CHARS)
    level = pl.coalesce(
        head.str.extract(_FIELD), *(head.str.extract(one) for one in (_LOUD, _BRACKETED, _LEADING, _KLOG))
    )
    crash = pl.when(head.str.contains(_CRASH)).then(pl.lit("error"))
    frame = lines.rename("line").to_frame().select(level=level, crash=crash)
    said = severity_of_level(frame["level"])
    return said.fill_null(frame["crash"]).fill_null("info").alias("severity")
