"""Formats and sources by name. Adding one is a file and a line here.

Each name stands for a function that builds the part, so that what nobody asks for is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from engine.errors import ConfigError, SourceError
from engine.ports import Format, Source
from ingest.identity import Identity

Builder = TypeVar("Builder")


def _fluentbit(identity: Identity) -> Format:
    from ingest.formats.fluentbit import Fluentbit

    return Fluentbit(identity)


def _prometheus_adapter(identity: Identity) -> Format:
    from ingest.formats.prometheus_adapter import PrometheusAdapter

    return PrometheusAdapter(identity)


def _kubernetes_event_exporter(identity: Identity) -> Format:
    from ingest.formats.kubernetes_event_exporter import KubernetesEventExporter

    return KubernetesEventExporter(identity)


def _aws_cost_explorer(identity: Identity) -> Format:
    from ingest.formats.aws_cost_explorer import AwsCostExplorer

    return AwsCostExplorer(identity)


def _spans(identity: Identity) -> Format:
    from ingest.formats.spans import Spans

    return Spans(identity)


def _kubernetes_objects(identity: Identity) -> Format:
    from ingest.formats.kubernetes_objects import KubernetesObjects

    return KubernetesObjects(identity)


FORMATS: Final[Mapping[str, Callable[[Identity], Format]]] = {
    "fluentbit": _fluentbit,
    "prometheus-adapter": _prometheus_adapter,
    "kubernetes-event-exporter": _kubernetes_event_exporter,
    "aws-cost-explorer": _aws_cost_explorer,
    "spans": _spans,
    "kubernetes-objects": _kubernetes_objects,
}


def _opsbrain(path: Path, day: str | None, identity: Identity | None) -> Source:
    from ingest.recording import Recording

    if day is not None:
        raise ConfigError("--day: a recording of our own is one stretch of time; leave the day out")
    return Recording(path, format_of, identity)


def _nezha(path: Path, day: str | None, identity: Identity | None) -> Source:
    from ingest.nezha import NezhaSource

    return NezhaSource(path, day)


def _alibaba_genai_2026(path: Path, day: str | None, identity: Identity | None) -> Source:
    from ingest.alibaba_genai_2026 import GenaiSource

    if day is not None:
        raise ConfigError("--day: alibaba-genai-2026 is one day; leave the day out")
    return GenaiSource(path)


SOURCES: Final[Mapping[str, Callable[[Path, str | None, Identity | None], Source]]] = {
    "opsbrain": _opsbrain,
    "nezha": _nezha,
    "alibaba-genai-2026": _alibaba_genai_2026,
}


def format_of(name: str, identity: Identity) -> Format:
    """Return the wire format of that name; raise ConfigError, which lists the known ones, if there is none."""
    return _known("wire format", name, FORMATS)(identity)


def source(name: str, path: Path, day: str | None = None, identity: Identity | None = None) -> Source:
    """Return the source that reads recorded data of that format at `path`.

    `identity` lends its default namespace and overrides to recordings of our own. Raises ConfigError on an unknown
    name, SourceError when the data are not there or not of that format.
    """
    build = _known("format", name, SOURCES)
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; check the path")
    return build(path, day, identity)


def _known(what: str, name: str, builders: Mapping[str, Builder]) -> Builder:
    if name not in builders:
        raise ConfigError(f"{what} {name!r} is not known; choose one of: {', '.join(builders)}")
    return builders[name]
