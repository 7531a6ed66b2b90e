"""What is wrong with the settings of pulls, found at the start: a poll would fail of it again and again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from opsbrain.file_names import file_name
from opsbrain.settings import CostExplorer, KubernetesCluster, ObjectStorage, PrometheusHistory, Pull

Wrong = tuple[str, str]
"""A key, behind that of the section, and what is wrong with its value."""

MOST_GROUPS: Final = 2  # that Cost Explorer takes
_ADDRESS: Final = "must begin with http:// or https:// and name a host"
_BUCKET: Final = re.compile(r"s3://[A-Za-z0-9._-]{1,255}(/.*)?", re.DOTALL)  # as botocore has it
_HOST: Final = re.compile(r"[\w-]+(\.[\w-]+)*\.?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, as clusters have it


def pull_contradictions(pull: Pull) -> Iterator[Wrong]:
    """Yield what is wrong: the key in `pull`, and why."""
    names = [file_name(one.name) for one in pull.object_storage]
    for number, one in enumerate(pull.object_storage):
        if not one.name or names[number] in names[:number]:
            yield f"object_storage[{number}].name", "must be given and unique, also as the name of a file"
        yield from _below(f"object_storage[{number}]", _storage(one))
    yield from _below("cost_explorer", _costs(pull.cost_explorer))
    yield from _below("kubernetes", _cluster(pull.kubernetes))
    yield from _below("prometheus", _history(pull.prometheus))


def is_address(text: str) -> bool:
    """Return whether `text` is the address of an HTTP server.

    >>> [is_address(one) for one in ("http://[::1]:9090/prefix", "x", "ftp://x", "http://[bad")]
    [True, False, False, False]
    """
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:  # brackets that hold no IPv6 address, a port out of range
        return False
    named = bool(_HOST.fullmatch(host)) or ":" in host
    return url.scheme in ("http", "https") and named and port != 0 and text.isprintable() and " " not in text


def _below(key: str, found: Iterable[Wrong]) -> Iterator[Wrong]:
    return ((f"{key}.{name}", text) for name, text in found)


def _storage(one: ObjectStorage) -> Iterator[Wrong]:
    if not _BUCKET.fullmatch(one.url):
        yield "url", "must be of the form s3://bucket/prefix"
    yield from _endpoint(one.endpoint_url)


def _costs(one: CostExplorer) -> Iterator[Wrong]:
    if len(one.group_by) > MOST_GROUPS:
        yield "group_by", "AWS groups by at most two"
    if not one.metrics:
        yield "metrics", "name at least one"
    yield from _endpoint(one.endpoint_url)


def _cluster(one: KubernetesCluster) -> Iterator[Wrong]:
    for name in one.namespaces:
        if not _NAMESPACE.fullmatch(name):
            yield "namespaces", f"{name!r} is no name of a namespace; leave the list empty to watch all"
    if len(set(one.namespaces)) != len(one.namespaces):
        yield "namespaces", "names a namespace twice"


def _history(one: PrometheusHistory) -> Iterator[Wrong]:
    if one.url and not is_address(one.url):
        yield "url", _ADDRESS
    if not all(text.strip() for text in one.matchers or ("",)):
        yield "matchers", "name at least one, and none that is empty"


def _endpoint(url: str) -> Iterator[Wrong]:
    if url and not is_address(url):
        yield "endpoint_url", _ADDRESS
