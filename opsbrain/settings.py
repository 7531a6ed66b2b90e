"""The one settings tree: every key, its default, its range, and why you would change it.

Read by `opsbrain.settings_load`; `docs/settings.md` is rendered from this file by `opsbrain.settings_docs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsbrain.secrets import Secret

# ruff: noqa: RUF009 - keys are declared by calls, so that default, range and meaning stand together

NOTIFY_KINDS = ("opened", "updated", "resolved")
COST_METRICS = ("UnblendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost", "BlendedCost")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
SECURITY_KEYS = ("security.", "sasl.", "ssl.", "enable.ssl.")


def _key(
    default: Any,
    doc: str,
    *,
    lo: float | None = None,
    hi: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare one key: its default, why one would change it, and the closed range or choices it must lie in."""
    metadata = {"doc": doc, "lo": lo, "hi": hi, "choices": choices}
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def _section(of: type, doc: str) -> Any:
    return field(default_factory=of, metadata={"doc": doc})


def _needed(doc: str, *, choices: tuple[str, ...] = ()) -> Any:
    return field(metadata={"doc": doc, "lo": None, "hi": None, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """How telemetry becomes incidents, in one process or on Kafka; a new resolution, seed, number of
    shards or time of fits means starting with fresh state."""

    shards: int = _key(
        64, "Logical shards that state is split into: the most workers that can share the work.", lo=1, hi=4096
    )
    resolution_s: int = _key(
        60, "Length of a window. Shorter windows react sooner and cost more; replays use their data's.", lo=1, hi=86_400
    )
    lateness_s: int = _key(
        5, "How far a row may lag behind the newest of its input before its window closes without it.", lo=0, hi=86_400
    )
    future_s: int = _key(
        600, "How far a row's time may lie after its message came in; beyond it the sender's clock is wrong.", lo=0
    )
    told_late_s: int = _key(
        86_400,
        "How old an event may be (an alert, a deployment, an audit record) that is told after its window closed: it"
        " then counts in the oldest open window, as a change under its own time. Older ones are late.",
        lo=0,
    )
    cost_settle_days: int = _key(
        2,
        "How old an estimated amount of cost must be to count; final ones count at once. Lower tells sooner, of less.",
        lo=0,
        hi=31,
    )
    cost_news_days: int = _key(
        3,
        "How long ago a day may have ended whose cost becomes known and is still alarming; older ones are history that"
        " is learned.",
        lo=0,
        hi=366,
    )
    idle_after_s: int = _key(
        30, "After how much silence an input no longer holds windows open (live inputs only).", lo=1, hi=86_400
    )
    span_wait_s: int = _key(
        10, "How long a span waits for its parent before it is counted as an orphan.", lo=0, hi=86_400
    )
    alarm_budget_per_day: float = _key(
        1.0,
        "False incidents a day and scope that you accept when nothing is wrong. Lower is quieter and blinder.",
        lo=0.0001,
        hi=10_000.0,
    )
    anomaly_tail_p: float = _key(
        1e-4, "A series is anomalous when a value this strange would be this rare. Lower is quieter.", lo=1e-12, hi=0.5
    )
    quiet_s: int = _key(
        600,
        "How long nothing may be wrong before an incident resolves; three windows at least. Longer joins what comes and"
        " goes.",
        lo=1,
        hi=604_800,
    )
    seed: int = _key(0, "Seed of every detector; the same seed and input give the same output to the byte.", lo=0)
    fit_every_s: int = _key(
        3600, "How often models (forest, LSTM, Prophet) are fitted anew, in event time; 24 windows at least.", lo=60
    )
    fit_delay_s: int = _key(
        300, "How long after its history ends a fit takes effect. Must exceed what a fit takes, or windows wait.", lo=0
    )
    history_windows: int = _key(
        10_080, "Windows of history that fits may look back on (10,080 minutes are a week).", lo=10, hi=1_000_000
    )
    max_series_per_metric: int = _key(
        100_000,
        "Series that one metric of one input may have. More are dropped and counted, an alarm names the metric, and"
        " those known already stay.",
        lo=1,
    )
    max_series: int = _key(2_000_000, "Series that all metrics of one input may have together.", lo=1)
    forget_series_s: int = _key(
        21_600, "After how much silence a series no longer counts toward these limits (pods come and go).", lo=60
    )
    context_windows: int = _key(180, "Windows of evidence that the ranker may look back on.", lo=2, hi=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectors:
    """Which detectors score every series, and their own options."""

    enabled: tuple[str, ...] = _key(
        ("zscore", "forest"), "Detectors that run: zscore, forest, lstm (extra `lstm`), prophet (extra `prophet`)."
    )
    options: dict[str, dict[str, Any]] = _key(
        {}, "Options by detector, as in `[detectors.options.zscore]`; each detector documents and checks its own."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranker:
    """How root causes are ranked."""

    options: dict[str, Any] = _key({}, "Options of the ranker, which documents and checks them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a fix may touch. Nothing is applied to a real cluster by this version."""

    options: dict[str, Any] = _key({}, "Options of the policy in `autofix`, which documents and checks them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryTopic:
    """One topic as a shipper fills it."""

    topic: str = _needed("Name of the topic.")
    format: str = _needed("Wire format of its messages, as `fluentbit` or `prometheus-adapter`.")
    scope: str = _key("", "Scope (cluster or tenant) of its rows; empty means `identity.scope`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionHours:
    """How long our topics keep their messages. Topics that are there keep what they have (`opsbrain doctor` tells)."""

    steps: int = _key(
        168,
        "What travels between steps. State is made again from it: the longest time that all workers may be away.",
        lo=1,
        hi=87_600,
    )
    conclusions: int = _key(
        720, "Anomalies, incidents and fixes: how far back `opsbrain export` can look.", lo=1, hi=87_600
    )
    refused: int = _key(168, "Dead letters and late rows.", lo=1, hi=87_600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """The broker that `opsbrain worker` works on."""

    bootstrap: str = _key("", "Brokers as `host:port,host:port`; empty means there is none.")
    group_prefix: str = _key("opsbrain", "Begins the names of our consumer groups.")
    topic_prefix: str = _key("opsbrain.", "Begins the names of our own topics.")
    partitions: int = _key(8, "Partitions of each topic that we create. At most `pipeline.shards`.", lo=1, hi=4096)
    replication: int = _key(
        0, "Copies of each message in topics that we create; 0 takes 3, or as many as there are brokers.", lo=0, hi=32
    )
    retention_hours: RetentionHours = _section(RetentionHours, "How long our topics keep their messages.")
    session_timeout_s: int = _key(
        10, "After how much silence a worker counts as dead and its shards move.", lo=1, hi=1800
    )
    checkpoint_every_s: float = _key(
        2.0,
        "How often offsets and snapshots are committed. Longer costs less and repeats more work after a crash.",
        lo=0.1,
        hi=600,
    )
    start_from: str = _key(
        "",
        "Where a consumer group that has committed nothing yet begins to read telemetry: at the first message that the"
        " broker took at or after this time (with its zone, as `2026-11-21T06:00:00Z`); empty is at the first one.",
    )
    security: dict[str, Secret] = _key(
        {}, "librdkafka's `security.*`, `sasl.*` and `ssl.*` keys (docs/kafka.md). Values may be `env:` or `file:`."
    )
    telemetry: tuple[TelemetryTopic, ...] = _key((), "Topics to read: a list of {topic, format, scope}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver of incidents: CloudEvents, signed by Standard Webhooks."""

    name: str = _needed("Your name for it, in messages and the outbox; unique.")
    url: Secret = _needed(
        "Where to POST (http or https). May be `env:NAME` or `file:PATH`, since such addresses often are secrets."
    )
    secrets: tuple[Secret, ...] = _key(
        (),
        "Signing secrets (`whsec_...`), `file:` or `env:`; several while one replaces another; none sends unsigned.",
    )
    kinds: tuple[str, ...] = _key(NOTIFY_KINDS, "Which events it gets.", choices=NOTIFY_KINDS)
    timeout_s: float = _key(10.0, "How long one request may take.", lo=0.1, hi=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alertmanager:
    """A Prometheus Alertmanager that gets incidents as alerts."""

    url: Secret = _key(
        Secret(""), "Its base address, as `http://alertmanager:9093`; empty means none. May be `env:` or `file:`."
    )
    refresh_s: int = _key(
        240,
        "How often a firing alert is sent again. Less than its `resolve_timeout` (5 minutes by default).",
        lo=10,
        hi=86_400,
    )
    timeout_s: float = _key(10.0, "How long one request may take.", lo=0.1, hi=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notify:
    """Who hears of incidents."""

    webhooks: tuple[Webhook, ...] = _key(
        (), "Receivers of signed CloudEvents: a list of {name, url, secrets, kinds, timeout_s}."
    )
    alertmanager: Alertmanager = _section(Alertmanager, "A Prometheus Alertmanager.")
    give_up_after_s: int = _key(86_400, "How long a delivery is tried again before it counts as failed.", lo=60)
    stale_after_s: int = _key(
        900,
        "How far behind the clock what is told may lie before the notification is marked as stale, in a header: what "
        "is told after an outage is old news. More than the windows and inputs need to close anyway.",
        lo=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """Where `opsbrain up` listens, for receivers and console."""

    host: str = _key(
        "127.0.0.1", "Address to listen on. Beyond loopback `http.token` must be set, and a proxy should speak TLS."
    )
    port: int = _key(8080, "Port to listen on; 0 takes a free one.", lo=0, hi=65_535)
    token: Secret = _key(
        Secret(""),
        "What every request must bear: `Authorization: Bearer TOKEN`, or as the password of a browser's login; empty"
        " asks for nothing.",
    )
    metrics_token: Secret = _key(
        Secret(""),
        "What whoever reads /metrics may bear instead, so that a Prometheus need not know `http.token`; it opens"
        " nothing else.",
    )
    max_body_mb: int = _key(
        16, "Largest body that receivers take, before and after decompression. Larger ones get 413.", lo=1, hi=256
    )
    in_flight_mb: int = _key(
        128,
        "How much of bodies may be in memory at once; senders beyond get 429 and come again. At least four times"
        " `http.max_body_mb`.",
        lo=4,
        hi=16_384,
    )
    body_timeout_s: float = _key(
        30.0, "How long one body may take to come. Slower ones get 503, so that they hold nothing up.", lo=0.1, hi=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One `opsbrain worker`: where it tells how it is, and how much memory it may take."""

    listen: str = _key(
        "127.0.0.1:9108",
        "Where it serves /metrics, /healthz and /readyz, as `host:port`; port 0, or one that is taken, takes a free"
        " one; empty switches it off. Beyond loopback `http.metrics_token` (or `http.token`) must be set; /healthz and"
        " /readyz ask for no token.",
    )
    memory_limit_mb: int = _key(
        4096,
        "Memory of the process that it keeps below: from 80 % of it on nothing more is read until it is back at 70 %.",
        lo=256,
        hi=1_000_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What long-running commands (`up`, `receive`, `worker`) say on standard error."""

    format: str = _key(
        "text", "`text` for people, or `json`: one object a line, for what collects logs.", choices=LOG_FORMATS
    )
    level: str = _key("warning", "The least that is said.", choices=LOG_LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receivers:
    """What shippers and hooks must bear. Where a token is set here, they need not know `http.token`, which still works.

    A token of this section never opens the console.
    """

    ingest_token: Secret = _key(
        Secret(""),
        "What shippers must bear (`Authorization: Bearer TOKEN`, the password of a basic login, or `X-Api-Key`);"
        " empty means `http.token`.",
    )
    hook_token: Secret = _key(
        Secret(""), "What senders of hooks may bear instead, where they should not be able to write telemetry."
    )
    gitlab_token: Secret = _key(
        Secret(""), "The secret token of the GitLab webhook (`X-Gitlab-Token`); empty means one of the tokens above."
    )
    github_secret: Secret = _key(
        Secret(""), "The secret of the GitHub webhook, with which it signs (`X-Hub-Signature-256`)."
    )
    topics: dict[str, str] = _key(
        {}, "Topic by format that `opsbrain receive` fills, where several of `kafka.telemetry` have the same format."
    )
    grpc_port: int = _key(
        4317,
        "Port of OTLP over gRPC, at `http.host`; 0 switches it off. With `http.port` = 0 a free one is taken.",
        lo=0,
        hi=65_535,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where state, incidents and audit are kept."""

    folder: Path = _key(Path(".opsbrain"), "Folder of the databases, the journal and the checkpoints; made if missing.")
    journal_mb: int = _key(
        256,
        "How much of each format's input is kept that is in no checkpoint yet; when full, senders get 429.",
        lo=16,
        hi=65_536,
    )
    checkpoint_s: int = _key(
        10, "How often `opsbrain up` checkpoints. Longer costs less, and a restart has more to do again.", lo=1, hi=3600
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStorage:
    """One prefix of object storage (S3, or what speaks like it) whose objects are read as they come.

    Without keys of its own it uses the usual chain of AWS: environment, profile, web identity, instance role.
    """

    name: str = _needed("Your name for it, in messages and the file that remembers how far it was read; unique.")
    url: str = _needed("Bucket and prefix, as `s3://bucket/AWSLogs/`.")
    format: str = _needed("Wire format of its objects, as `cloudtrail`, `fluentbit`, `focus` or `otlp-logs`.")
    region: str = _key("", "Region of the bucket; empty takes that of the environment.")
    endpoint_url: str = _key("", "Where S3 is, if it is not AWS's own, as `http://minio:9000`.")
    access_key_id: Secret = _key(Secret(""), "Access key, `env:` or `file:`; empty uses the usual chain.")
    secret_access_key: Secret = _key(Secret(""), "Secret of the access key, `env:` or `file:`.")
    poll_s: int = _key(60, "How often the prefix is listed. S3 takes money for each 1,000 objects listed.", lo=1)
    full_every_s: int = _key(
        3600,
        "How often it is listed from its beginning, for objects whose keys sort before those already read.",
        lo=1,
    )
    lookback_s: int = _key(
        3600, "How far an object's time may lie behind that of newer ones and it is still read.", lo=60, hi=2_592_000
    )
    history_s: int = _key(86_400, "How old an object may be that is read at the very first start.", lo=0)
    settle_s: int = _key(
        300, "How long the files of a bill (`focus`) must have been left alone before they are read together.", lo=0
    )
    max_object_mb: int = _key(1024, "Largest object, decompressed, that is read.", lo=1, hi=65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostExplorer:
    """AWS Cost Explorer, asked once a day; each question costs a cent."""

    enabled: bool = _key(False, "Whether it is asked.")
    hour_utc: int = _key(
        12, "After which hour of the day; AWS completes a day's costs in the course of the next.", hi=23, lo=0
    )
    lookback_days: int = _key(
        14, "How many days are asked for each time: amounts are revised for a while.", lo=1, hi=365
    )
    group_by: tuple[str, ...] = _key(
        ("SERVICE",), "At most two of: a dimension (`SERVICE`, `LINKED_ACCOUNT`), `TAG:name`, `COST_CATEGORY:name`."
    )
    metrics: tuple[str, ...] = _key(
        ("UnblendedCost",),
        "Amounts to ask for, of which one is used: the first of this order.",
        choices=COST_METRICS,
    )
    anomalies: bool = _key(True, "Whether AWS's own cost anomalies are asked for too; they become events.")
    region: str = _key("us-east-1", "Region to ask in.")
    endpoint_url: str = _key("", "Where to ask, if it is not AWS's own.")
    access_key_id: Secret = _key(Secret(""), "Access key, `env:` or `file:`; empty uses the usual chain.")
    secret_access_key: Secret = _key(Secret(""), "Secret of the access key, `env:` or `file:`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusHistory:
    """A Prometheus that is asked once, at the first start, for the hours before it: detectors are warm at once."""

    url: str = _key("", "Its base address, as `http://prometheus:9090` (or what answers like it); empty asks nobody.")
    token: Secret = _key(Secret(""), "Bearer token, `env:` or `file:`; empty sends none.")
    matchers: tuple[str, ...] = _key(
        ('{__name__=~".+"}',), "Series selectors of what is asked for. The same series as are sent later."
    )
    hours: float = _key(
        6.0, "How many hours back. Nobody is told of incidents that were over by the start.", lo=0.1, hi=8_760
    )
    timeout_s: float = _key(60.0, "How long one question may take.", lo=1, hi=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesCluster:
    """A cluster whose events and objects are watched; `deploy/cluster/reader.yaml` is the role that this needs."""

    enabled: bool = _key(False, "Whether it is watched.")
    kubeconfig: str = _key("", "Path of a kubeconfig; empty takes the pod's service account, else the user's.")
    context: str = _key("", "Context of the kubeconfig; empty takes its current one.")
    namespaces: tuple[str, ...] = _key((), "The only namespaces to watch; empty watches all, and the nodes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """What is fetched, because nobody sends it."""

    object_storage: tuple[ObjectStorage, ...] = _key((), "Prefixes to read: a list of {name, url, format, ...}.")
    cost_explorer: CostExplorer = _section(CostExplorer, "AWS Cost Explorer.")
    kubernetes: KubernetesCluster = _section(KubernetesCluster, "Events and objects of a Kubernetes cluster.")
    prometheus: PrometheusHistory = _section(PrometheusHistory, "The hours before the first start, from a Prometheus.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How labels become entities (`scope/kind/namespace/name`)."""

    scope: str = _key("default", "Scope (cluster or tenant) of telemetry that does not name one.")
    default_namespace: str = _key("default", "Namespace of services that do not name one.")
    overrides: dict[str, str] = _key({}, 'Entity by label match, as `"app=legacy-shop" = "prod/service/shop/legacy"`.')


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrub:
    """What is taken out of text before it is kept: secrets and personal data; `ingest/scrub_rules.py` has the rules."""

    enabled: bool = _key(
        True, "False keeps everything but authorization and cookie headers, in dead letters too. Do not, if in doubt."
    )
    off: tuple[str, ...] = _key(
        (),
        "Kinds to leave in, as `email` where addresses are your users' names. The kinds are named when one is wrong.",
    )
    rules: dict[str, str] = _key(
        {}, "Your own: name and pattern, as `badge = 'B-[0-9]{6}'`, in the syntax of Rust's `regex`. Each costs a pass."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings."""

    pipeline: Pipeline = _section(Pipeline, "")
    detectors: Detectors = _section(Detectors, "")
    ranker: Ranker = _section(Ranker, "")
    policy: Policy = _section(Policy, "")
    kafka: Kafka = _section(Kafka, "")
    notify: Notify = _section(Notify, "")
    http: Http = _section(Http, "")
    worker: Worker = _section(Worker, "")
    log: Log = _section(Log, "")
    receivers: Receivers = _section(Receivers, "")
    pull: Pull = _section(Pull, "")
    store: Store = _section(Store, "")
    identity: Identity = _section(Identity, "")
    scrub: Scrub = _section(Scrub, "")
