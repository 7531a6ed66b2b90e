"""Pulls: what nobody sends is fetched, and kept like what is sent (see `opsbrain.keep`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from engine.errors import ConfigError
from ingest.registry import FORMATS
from opsbrain.keep import Keep
from opsbrain.pull.base import Puller, PullThread
from opsbrain.pull.cost_explorer import CostExplorerPuller
from opsbrain.pull.kubernetes_api import ClusterConfig
from opsbrain.pull.kubernetes_watch import watches
from opsbrain.pull.object_storage import ObjectStoragePuller
from opsbrain.pull.prometheus_backfill import BackfillConfig, PrometheusBackfill
from opsbrain.settings import KubernetesCluster, Settings

FOLDER: Final = "pull"


def wall_clock_ms() -> int:
    """Return Unix milliseconds now."""
    return time.time_ns() // 1_000_000


def pullers_of(
    settings: Settings, keep: Keep, folder: Path, clock: Callable[[], int] = wall_clock_ms
) -> list[PullThread]:
    """Return the threads, not started yet, that pull what the settings name; they remember in `folder`/pull.

    Raises ConfigError when a format is not known.
    """
    memory, max_bytes = folder / FOLDER, settings.http.max_body_mb << 20
    pullers: list[Puller] = []
    for one in settings.pull.object_storage:
        if one.format not in FORMATS:
            known = ", ".join(FORMATS)
            raise ConfigError(f"pull.object_storage {one.name}: format {one.format!r} is not known; one of: {known}")
        pullers.append(ObjectStoragePuller(one, keep, memory, max_bytes))
    if settings.pull.cost_explorer.enabled:
        pullers.append(CostExplorerPuller(settings.pull.cost_explorer, keep, memory, max_bytes))
    pullers += kubernetes_of(settings.pull.kubernetes, keep, memory, clock)
    return [PullThread(one, clock) for one in pullers]


def kubernetes_of(one: KubernetesCluster, keep: Keep, memory: Path, clock: Callable[[], int]) -> Iterator[Puller]:
    """Yield a watch for each resource, and for each namespace where not all are watched."""
    for namespace in one.namespaces or ("",) if one.enabled else ():
        config = ClusterConfig(one.kubeconfig, one.context, namespace)
        yield from watches(f"pull.kubernetes {namespace}".strip(), config, memory, keep, clock)


def backfill_of(settings: Settings, keep: Keep, folder: Path, started_ms: int) -> PrometheusBackfill | None:
    """Return what fetches the hours before the first start, or None when no Prometheus is named."""
    one = settings.pull.prometheus
    if not one.url:
        return None
    step_ms = settings.pipeline.resolution_s * 1000
    config = BackfillConfig(
        one.url,
        one.token.reveal("pull.prometheus.token"),
        one.matchers,
        int(one.hours * 3_600_000),
        step_ms,
        one.timeout_s,
    )
    return PrometheusBackfill(config, keep, folder / FOLDER, started_ms)
