"""Formats and sources by name. Adding one is a file and a line here.

Each name stands for a function that builds the part, so that what nobody asks for is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Final, TypeVar

from engine.errors import ConfigError, SourceError
from engine.ports import Format, Source
from ingest.identity import Identity
from ingest.scrub import Scrubber
from ingest.split import Split

Builder = TypeVar("Builder")
BuildFormat = Callable[[Identity, Scrubber], Format]
BuildSource = Callable[[Path, str | None, Identity | None, Scrubber], Source]


def _json(module: str, name: str) -> BuildFormat:
    """Return the builder of a format of JSON records, of which a message may hold several."""
    build = _own(module, name)
    return lambda identity, scrubber: Split(build(identity, scrubber))


def _fluentbit(identity: Identity, scrubber: Scrubber) -> Format:
    from ingest.formats.fluentbit import Fluentbit, split_message

    return Split(Fluentbit(identity, scrubber), split_message)


def _own(module: str, name: str) -> BuildFormat:
    """Return the builder of a format that finds its rows in a message itself."""

    def build(identity: Identity, scrubber: Scrubber) -> Format:
        made: Format = getattr(import_module(f"ingest.formats.{module}"), name)(identity, scrubber)
        return made

    return build


FORMATS: Final[Mapping[str, BuildFormat]] = {
    "fluentbit": _fluentbit,
    "prometheus-adapter": _own("prometheus_adapter", "PrometheusAdapter"),
    "prometheus-query-range": _own("prometheus_query_range", "PrometheusQueryRange"),
    "prometheus-remote-write": _own("prometheus_remote_write", "PrometheusRemoteWrite"),
    "kubernetes-event-exporter": _json("kubernetes_event_exporter", "KubernetesEventExporter"),
    "kubernetes-events": _json("kubernetes_events", "KubernetesEvents"),
    "kubernetes-objects": _json("kubernetes_objects", "KubernetesObjects"),
    "otlp-logs": _own("otlp_logs", "OtlpLogs"),
    "otlp-metrics": _own("otlp_metrics", "OtlpMetrics"),
    "otlp-spans": _own("otlp_spans", "OtlpSpans"),
    "spans": _json("spans", "Spans"),
    "aws-cost-explorer": _json("aws_cost_explorer", "AwsCostExplorer"),
    "aws-cost-anomalies": _json("aws_cost_anomalies", "AwsCostAnomalies"),
    "focus": _own("focus", "Focus"),
    "opencost": _json("opencost", "Opencost"),
    "cloudtrail": _json("cloudtrail", "Cloudtrail"),
    "falco": _json("falco", "Falco"),
    "alertmanager": _json("alertmanager", "Alertmanager"),
    "argocd": _json("argocd", "Argocd"),
    "gitlab": _json("gitlab", "Gitlab"),
    "github": _json("github", "Github"),
    "terraform": _json("terraform", "Terraform"),
    "junit": _own("junit", "Junit"),
}


def _opsbrain(path: Path, day: str | None, identity: Identity | None, scrubber: Scrubber) -> Source:
    from ingest.recording import Recording

    if day is not None:
        raise ConfigError("--day: a recording of our own is one stretch of time; leave the day out")
    return Recording(path, lambda name, identity: format_of(name, identity, scrubber), identity)


def _nezha(path: Path, day: str | None, identity: Identity | None, scrubber: Scrubber) -> Source:
    from ingest.nezha import NezhaSource

    return NezhaSource(path, day)


def _alibaba_genai_2026(path: Path, day: str | None, identity: Identity | None, scrubber: Scrubber) -> Source:
    from ingest.alibaba_genai_2026 import GenaiSource

    if day is not None:
        raise ConfigError("--day: alibaba-genai-2026 is one day; leave the day out")
    return GenaiSource(path)


def _trace(module: str, name: str) -> BuildSource:
    """Return the builder of a published trace, whose days are one stretch of time."""

    def build(path: Path, day: str | None, identity: Identity | None, scrubber: Scrubber) -> Source:
        if day is not None:
            raise ConfigError("--day: this trace is replayed as a whole; leave the day out")
        made: Source = getattr(import_module(f"ingest.{module}"), name)(path)
        return made

    return build


SOURCES: Final[Mapping[str, BuildSource]] = {
    "opsbrain": _opsbrain,
    "nezha": _nezha,
    "alibaba-genai-2026": _alibaba_genai_2026,
    "borg-2019": _trace("borg_2019", "Borg2019"),
    "borg-2011": _trace("borg_2011", "Borg2011"),
    "alibaba-2018": _trace("alibaba_2018", "Alibaba2018"),
    "alibaba-microservices-2021": _trace("alibaba_microservices", "Microservices2021"),
    "alibaba-microservices-2022": _trace("alibaba_microservices", "Microservices2022"),
    "alibaba-gpu-2023": _trace("alibaba_gpu_2023", "AlibabaGpu2023"),
}


def format_of(name: str, identity: Identity, scrubber: Scrubber | None = None) -> Format:
    """Return the wire format of that name; raise ConfigError, which lists the known ones, if there is none.

    Names of entities are scrubbed by the same rules as texts.
    """
    scrubber = scrubber or Scrubber()
    return _known("wire format", name, FORMATS)(replace(identity, clean=scrubber.name), scrubber)


def source(
    name: str,
    path: Path,
    day: str | None = None,
    identity: Identity | None = None,
    scrubber: Scrubber | None = None,
) -> Source:
    """Return the source that reads recorded data of that format at `path`.

    `identity` lends its default namespace and overrides to recordings of our own, `scrubber` its rules. Raises
    ConfigError on an unknown name, SourceError when the data are not there or not of that format.
    """
    build = _known("format", name, SOURCES)
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; check the path")
    return build(path, day, identity, scrubber or Scrubber())


def _known(what: str, name: str, builders: Mapping[str, Builder]) -> Builder:
    if name not in builders:
        raise ConfigError(f"{what} {name!r} is not known; choose one of: {', '.join(builders)}")
    return builders[name]
