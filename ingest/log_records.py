"""Reads one log record of any shipper that keeps to none of the shapes that are read fast: key by key, as they come.

What Fluent Bit's filters and parsers, rsyslog, systemd's journal, GELF and the Elastic Common Schema call things. In
each list the first key that holds something usable speaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import msgspec

from ingest.identity import APP_LABELS, NAMESPACE_LABELS, POD_LABELS, SERVICE_LABELS, Identity, owners_of
from ingest.times import EARLIEST_MS, LATEST_MS, Stamp

TIMES: Final = ("@timestamp", "date", "time", "timestamp", "ts", "eventTime", "@time", "timereported", "timegenerated")
TEXTS: Final = ("log", "message", "msg", "MESSAGE", "short_message", "event", "Message", "text", "body", "rawmsg")
LEVELS: Final = (
    *(
        "level",
        "severity",
        "loglevel",
        "log_level",
        "lvl",
        "levelname",
        "severity_text",
        "log.level",
        "@level",
        "Level",
    ),
    *("Severity", "syslogseverity-text", "syslogseverity", "syslog_severity", "severityText", "priority", "PRIORITY"),
    "pri",
)
HOSTS: Final = (
    *("host", "hostname", "host.name", "_HOSTNAME", "HOSTNAME", "Hostname", "hostName", "source_host", "computer"),
    *("Computer", "fromhost"),
)
PROGRAMS: Final = (
    *("programname", "program", "app-name", "appname", "app_name", "ident", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT"),
    *("_COMM", "container_name"),
)
PATHS: Final = (
    *("tag", "fluentbit_tag", "_tag", "filename", "file", "path", "filepath", "file_name", "log_file", "log.file.path"),
    "source_file",
)

_SPEAKERS: Final = (
    *APP_LABELS[:5],
    *("application", *SERVICE_LABELS, *POD_LABELS, *NAMESPACE_LABELS),
    *("k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name"),
)
_ALL_LEVELS, _ALL_PATHS, _ALL_SPEAKERS = frozenset(LEVELS), frozenset(PATHS), frozenset(_SPEAKERS)
_LIFTED: Final = ("kubernetes_", "kubernetes.", "_kubernetes_", "_k8s_")  # by filters `nest` and `modify`, and in GELF
_NO_TEXT: Final = frozenset(
    {"stream", "logtag", "_p", "kubernetes", "kubernetes_namespace", "docker", "tag", "version"}
)
_NO_MESSAGES: Final = frozenset(
    {"kubernetes", "kubernetes_namespace", "docker", "host", "service", "container", "agent"}
)

# What the kubelet names files, and shippers that take them for their tags: `pod_namespace_container-id.log`, and
# `namespace_pod_uid/container/0.log`.
_CONTAINER_FILE: Final = re.compile(r"var[./]log[./]containers[./]([^_/]+)_([^_/]+)_.+-[0-9a-z]{6,64}\.log$")
_POD_FILE: Final = re.compile(r"var[./]log[./]pods[./]([^_/]+)_([^_/]+)_[0-9a-z\-]+[./]")

_DATE: Final = re.compile(
    r"\s*(?:[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9]{9,19}(?:\.[0-9]+)?\s*$)"
)
_UNITS: Final = (1, 1_000, 1_000_000, 1_000_000_000)  # in a second
_TENS: Final = frozenset(range(10, 70, 10))
_ENCODER: Final = msgspec.json.Encoder()

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a record says: when, what, how bad and who; text is None where there is none."""

    stamp: Stamp
    text: str | None
    level: str | None
    entity: str


def read_record(record: Record, identity: Identity) -> LogLine:
    """Return what a record says."""
    stamp_key, stamp = _stamp(record)
    text, level = _said(record)
    if not text:  # all that is left of a line whose keys were merged into the record: they are the line
        text = _rest(record, stamp_key) or text
    return LogLine(stamp, text, level or _level(record), sender_of(record, identity))


def sender_of(record: Record, identity: Identity) -> str:
    """Return whom a record comes from: a pod, by its metadata or its file; else a service, a host, a program."""
    pod = _metadata(record)
    if pod.get("pod_name"):
        return _of_pod(pod, identity)
    named = _by_file(record)
    if named:
        return identity.of_pod(*named)
    labels = {}
    if not _ALL_SPEAKERS.isdisjoint(record):
        labels = {key: record[key] for key in _SPEAKERS if _word(record.get(key))}
    labels |= _texts(pod.get("labels"))
    labels |= {key: pod[key] for key in ("namespace_name", "container_name", "host") if _word(pod.get(key))}
    if _name_in(record, "service"):
        labels["service"] = _name_in(record, "service")
    labels |= _host(record)
    if not labels.keys() - {"container_name", *NAMESPACE_LABELS}:
        program = _first(record, PROGRAMS).removesuffix(".service").strip("/")
        labels |= {"service": program} if program else {}
    return identity.of_labels(labels)


def level_of(key: str, value: Any) -> str | None:
    """Return a level as a word or the number of a severity; None where the value is no level."""
    if key in ("pri", "PRI"):
        number = str(value).strip("<>")
        return str(int(number) % 8) if number.isdecimal() and len(number) < 4 else None  # facility * 8 + severity
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(int(value)) if value in _TENS or (0 <= value <= 7 and value == int(value)) else None


def _stamp(record: Record) -> tuple[str, Stamp]:
    """Return the first time that can be one with its key, else the first thing under a key for times."""
    found: tuple[str, Stamp] = ("", None)
    for key in TIMES:
        value = record.get(key)
        if value is None or isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        if _is_time(value):
            return key, value
        found = found if found[0] else (key, value)
    return found


def _is_time(value: str | float) -> bool:
    if isinstance(value, str):
        return _DATE.match(value) is not None
    return any(EARLIEST_MS <= value / unit * 1000 < LATEST_MS for unit in _UNITS)


def _said(record: Record) -> tuple[str | None, str | None]:
    """Return text and level, of the record or of an object within it (`merge_log_key`, a parsed `log`)."""
    text = _text(record)
    if text:
        return text, None
    for key, value in record.items():
        if isinstance(value, dict) and key not in _NO_MESSAGES and (inner := _text(value)):
            return inner, _level(value)
    return text, None


def _text(record: Record) -> str | None:
    """Return the first text with something in it, "" where all are empty, None where there is none."""
    found = None
    for key in TEXTS:
        value = record.get(key)
        if isinstance(value, str):
            if value:
                return value
            found = value
    return found


def _rest(record: Record, stamp_key: str) -> str | None:
    rest = {
        key: value
        for key, value in record.items()
        if key != stamp_key and key not in _NO_TEXT and not key.startswith(_LIFTED) and value not in ("", None)
    }
    return _ENCODER.encode(rest).decode() if rest else None


def _level(record: Record) -> str | None:
    for key in () if _ALL_LEVELS.isdisjoint(record) else LEVELS:
        if key in record and (level := level_of(key, record[key])) is not None:
            return level
    inner = record.get("log")
    return level_of("level", inner.get("level")) if isinstance(inner, dict) else None


def _metadata(record: Record) -> dict[str, Any]:
    """Return what the kubernetes filter found out, where it lies now: in an object, lifted out of it, or flattened."""
    given = record.get("kubernetes")
    pod = dict(given) if isinstance(given, dict) else {}
    for key, value in record.items():
        if key.startswith(_LIFTED):
            prefix = next(one for one in _LIFTED if key.startswith(one))
            pod.setdefault(key[len(prefix) :], value)
    if "pod_name" not in pod and "namespace_name" in record:  # lifted without a prefix
        pod |= {key: record[key] for key in ("pod_name", "namespace_name") if _word(record.get(key))}
    if not pod:
        return pod
    space = pod.get("namespace")
    if not pod.get("namespace_name") and space is not None:
        pod["namespace_name"] = space.get("name") if isinstance(space, dict) else space
    if not isinstance(pod.get("labels"), dict):
        flat = {key[7:]: value for key, value in pod.items() if key.startswith(("labels.", "labels_"))}
        pod["labels"] = flat
    return pod


def _of_pod(pod: Mapping[str, Any], identity: Identity) -> str:
    name, namespace = pod["pod_name"], pod.get("namespace_name")
    if not isinstance(name, str):
        return identity.of_labels(_texts(pod.get("labels")))
    space = namespace if isinstance(namespace, str) else ""
    return identity.of_pod(name, space, _texts(pod.get("labels")), owners_of(pod.get("ownerReferences")))


def _by_file(record: Record) -> tuple[str, str] | None:
    """Return pod and namespace by the name of the file that the line was read from."""
    for key in () if _ALL_PATHS.isdisjoint(record) else PATHS:
        value = record.get(key)
        if isinstance(value, str) and "var" in value:
            found = _CONTAINER_FILE.search(value)
            if found:
                return found[1], found[2]
            found = _POD_FILE.search(value)
            if found:
                return found[2], found[1]
    return None


def _host(record: Record) -> dict[str, str]:
    host = _name_in(record, "host") or _first(record, HOSTS)
    return {"host": host} if host else {}


def _name_in(record: Record, key: str) -> str:
    """Return the name of an object as the Elastic Common Schema has them: `"host":{"name":"n1"}`."""
    value = record.get(key)
    return _first(value, ("name", "hostname")) if isinstance(value, dict) else ""


def _first(record: Record, keys: Iterable[str]) -> str:
    return next((value for key in keys if _word(value := record.get(key))), "")


def _texts(labels: Any) -> dict[str, str]:
    return {key: value for key, value in labels.items() if isinstance(value, str)} if isinstance(labels, dict) else {}


def _word(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value)
