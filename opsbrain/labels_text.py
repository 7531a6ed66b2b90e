"""Labels as people have them at hand: a series pasted from Prometheus, `key=value,key=value`, or a JSON object."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from engine.errors import DataError

FORMS: Final = """key=value,key=value, a pasted series such as up{namespace="shop",pod="x"}, or a JSON object"""

_SERIES: Final = re.compile(r"""^(?P<name>[^\s{}="',]*)\s*\{(?P<labels>.*)\}$""", re.DOTALL)
_LABEL: Final = re.compile(
    r"""\s*(?P<key>"(?:[^"\\]|\\.)*"|[^\s=,{}"']+)\s*"""
    r"""=\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^,{}"']*))\s*(?:,|$)""",
    re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_NAME: Final = "__name__"


def labels_of(text: str) -> dict[str, str]:
    """Return the labels in `text`, the name before a brace as `__name__`; raise DataError, in one line, what is wrong.

    >>> labels_of('up{namespace="shop", pod="a,b"}')
    {'__name__': 'up', 'namespace': 'shop', 'pod': 'a,b'}
    >>> labels_of("app=store,namespace=shop")
    {'app': 'store', 'namespace': 'shop'}
    """
    text = text.strip()
    if text.startswith("{") and (found := _json(text)) is not None:
        return found
    series = _SERIES.match(text)
    if series is None:
        return _pairs(text, {})
    return _pairs(series["labels"], {_NAME: series["name"]} if series["name"] else {})


def _json(text: str) -> dict[str, str] | None:
    """Return the labels of a JSON object, or None where it is none."""
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    labels: dict[str, str] = {}
    for key, value in pairs:
        if not isinstance(value, str | int | float):
            raise DataError(f"label {key!r} is not text")
        _put(labels, key, value if isinstance(value, str) else json.dumps(value))
    return labels


class _Pairs(list[tuple[str, Any]]):
    """What an object of JSON holds, repeats too."""


def _pairs(text: str, labels: dict[str, str]) -> dict[str, str]:
    at = 0
    while text[at:].strip():
        found = _LABEL.match(text, at)
        if found is None:
            raise DataError(_wrong(text[at:].strip()))
        value = found["bare"].strip() if found["bare"] is not None else _plain(found["double"] or found["single"] or "")
        _put(labels, _plain(found["key"].strip('"')), value)
        at = found.end()
    return labels


def _put(labels: dict[str, str], key: str, value: str) -> None:
    if key in labels:
        raise DataError(f"label {key!r} comes twice")
    labels[key] = value


def _plain(quoted: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], quoted)


def _wrong(rest: str) -> str:
    if rest.count("{") != rest.count("}"):
        return "the braces do not match"
    return f"{rest!r} is not key=value"
