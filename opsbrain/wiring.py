"""Wires the parts together: settings in, an engine's configuration out. The only place that knows all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from autofix.policy import PolicyConfig
from autofix.proposer import ProposerConfig
from detectors import registry as detectors
from engine.cardinality import SeriesLimitConfig
from engine.correlate import CorrelateConfig
from engine.detect import DetectConfig
from engine.fit import FitConfig
from engine.fit_schedule import FitSchedule
from engine.flow import EngineConfig
from engine.join import JoinConfig
from engine.periods import PeriodsConfig
from engine.scope import ScopeConfig
from engine.window import WindowConfig
from ingest.scrub import Scrubber
from models.templates import TemplatesConfig
from opsbrain.settings import Settings
from opsbrain.settings_load import convert_options
from rca.changes import ObjectChanges
from rca.ranker import RankerConfig
from rca.topology import ObjectTopology


def scrubber_of(settings: Settings) -> Scrubber:
    """Return what takes out secrets, for one input; raise ConfigError when a rule does not compile."""
    return Scrubber(settings.scrub.rules, settings.scrub.off, settings.scrub.enabled)


WINDOWS_A_FIT: Final = 24


def engine_config(settings: Settings, *, resolution_ms: int = 0, keep_history: bool = False) -> EngineConfig:
    """Return the engine's configuration; raise ConfigError when a part refuses its options.

    `resolution_ms` overrides the setting (a replay uses its data's own step); `keep_history` asks for every value with
    its band, as plots need it.
    """
    pipeline = settings.pipeline
    base_ms = resolution_ms or pipeline.resolution_s * 1000
    # with long windows (a trace by the hour) each would fit anew
    schedule = FitSchedule(max(pipeline.fit_every_s * 1000, WINDOWS_A_FIT * base_ms), pipeline.fit_delay_s * 1000)
    configs = tuple(
        detectors.build(name, settings.detectors.options.get(name, {})) for name in settings.detectors.enabled
    )
    fitters = tuple(fitter for one in configs if (fitter := one.fitter()) is not None)
    return EngineConfig(
        window=WindowConfig(
            base_ms,
            pipeline.lateness_s * 1000,
            pipeline.future_s * 1000,
            pipeline.shards,
            SeriesLimitConfig(pipeline.max_series_per_metric, pipeline.max_series, pipeline.forget_series_s * 1000),
            pipeline.told_late_s * 1000,
        ),
        detect=DetectConfig(
            detectors=configs,
            templates=TemplatesConfig(),
            fit_schedule=schedule,
            shards=pipeline.shards,
            base_resolution_ms=base_ms,
            anomaly_tail_p=pipeline.anomaly_tail_p,
            keep_history=keep_history or bool(fitters),
            seed=pipeline.seed,
            periods=PeriodsConfig(pipeline.cost_settle_days, pipeline.cost_news_days),
        ),
        join=JoinConfig(base_ms, pipeline.span_wait_s * 1000),
        fit=FitConfig(
            fitters=fitters,
            schedule=schedule,
            shards=pipeline.shards,
            base_resolution_ms=base_ms,
            history_windows=pipeline.history_windows,
            seed=pipeline.seed,
        ),
        scope=ScopeConfig(
            correlate=CorrelateConfig(
                alarm_budget_per_day=pipeline.alarm_budget_per_day, quiet_ms=pipeline.quiet_s * 1000
            ),
            ranker=convert_options(RankerConfig, settings.ranker.options, "ranker.options").build(),
            proposer=replace(
                ProposerConfig(), policy=convert_options(PolicyConfig, settings.policy.options, "policy.options")
            ).build(),
            change_detector=ObjectChanges(),
            topology_learner=ObjectTopology(),
            shards=pipeline.shards,
            base_resolution_ms=base_ms,
            history_windows=pipeline.context_windows,
        ),
    )
