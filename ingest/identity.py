"""Names entities: the one file that maps labels, pods, span resources, events and objects to entity ids.

An entity id is `scope/kind/namespace/name`. One pod must come out as the same entity in logs, metrics, events, objects
and spans, though each tells something else about it. What they all tell is the pod's name, and the cluster makes that
name from the workload's; so the workload's name decides, and labels only speak where a name does not. In order:

pod       1. an owner: ReplicaSet (without its hash), Deployment, StatefulSet, DaemonSet, Job (without its time), Node;
             as an event says it, else a label that names owners (`owner_name`, `created_by_name`,
             `k8s.deployment.name` and its kin), else the object's ownerReferences
          2. the shape of its name: `name-<6..10 hash>-<5>` of a deployment, `name-<5>` of a daemonset or job, or
             `name-<n>` of a statefulset
          3. a label: app.kubernetes.io/name, app, k8s-app, app.kubernetes.io/instance, component; service, service.name
          4. its own name
labels    1. what is said about a node (metrics `node_*`, `kube_node_*`, `machine_*`, `windows_*`; the jobs of node
             exporters; what kubelet and cAdvisor say of no pod) is the node's; a container outside Kubernetes is its
             Compose service
          2. what the scraper's own labels moved aside (`exported_pod`, `exported_service` ...) speaks first; a mesh's
             metrics are those of the side that reports; a probe's those of the host that it asks
          3. a pod (above)
          4. a workload: deployment, statefulset, daemonset, replicaset, job_name, cronjob, what an autoscaler scales,
             the pod that a volume claim was made for; an ECS task family, a function
          5. a label as for pods
          6. an AWS resource: its ARN, or a dimension of CloudWatch that names it
          7. a node, a host; a container by its name, or the beginning of its id; a cloud account
          8. the scrape's job, its instance; else the name `unattributed`
resource  as labels: k8s.pod.name with its namespace first, then the workload, service.name (`unknown_service` is none)
object    Node is a node; Pod as above; ReplicaSet and Job by their owner or their own name without its hash; workloads
          by their own name; Service by what it selects; an autoscaler by what it scales; anything else (ConfigMap,
          Secret, Ingress ...) by its label, or its own name without an ending as `-config`
ARN       by what the resource is to those who depend on it, under its own name (table `_OF_ARN`): what runs code is a
          service (ECS service and task definition, Lambda function, App Runner, state machine, load balancer and target
          group, auto scaling group; an EKS or ECS cluster as a whole too), an EC2 instance a node (named by its id),
          what keeps data a database (RDS, DynamoDB, ElastiCache, Redshift, OpenSearch, EFS, an S3 bucket), what carries
          messages a queue (SQS, SNS, Kinesis, Firehose, MSK, MQ, an event bus), what builds and deploys a ci
          (CloudFormation stack, CodeBuild, CodePipeline, ECR repository); anything else (roles, keys, networks ...) is
          its account's, or its AWS service's where the ARN names no account
deployed  what a repository delivers: the service of its path's last part; a deployment's environment is the namespace,
          except for production, which is the default namespace

`overrides` come first: a key `label=value` matches that label, and also (for app, service, node) the name that rules
derive, so that an override by `app=...` or `service=...` reaches inputs that do not carry the label. `arn=...` matches
an ARN, `ci=group/project` a repository and what it deploys, `environment=...` all that is deployed there.

Anybody may name a service as they like, with a password or a person's address in it. So the two parts that telemetry
names, namespace and name, go through `clean` last of all, here and nowhere else: a sender is one entity in all formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engine.errors import ConfigError
from engine.ids import entity_part, scope_of

Owners = Sequence[tuple[str, str]]
"""Owner references as (kind, name), the controller first."""

UNATTRIBUTED: Final = "unattributed"
"""Name of the service that stands for telemetry which names nobody."""

APP_LABELS: Final = (
    "app.kubernetes.io/name",
    "app_kubernetes_io_name",
    "app",
    "k8s-app",
    "k8s_app",
    "app.kubernetes.io/instance",
    "app_kubernetes_io_instance",
    "component",
)
SERVICE_LABELS: Final = ("exported_service", "service", "service.name", "service_name")
POD_LABELS: Final = ("exported_pod", "pod", "pod_name", "kubernetes_pod_name", "k8s.pod.name", "k8s_pod_name")
NAMESPACE_LABELS: Final = (
    "exported_namespace",
    "namespace",
    "namespace_name",
    "kubernetes_namespace",
    "k8s.namespace.name",
    "k8s_namespace_name",
    "service.namespace",
)
NODE_LABELS: Final = (
    "exported_node",
    "node",
    "nodename",
    "kubernetes_node",
    "node_name",
    "k8s.node.name",
    "k8s_node_name",
    "host",
    "host.name",
    "hostname",
)
WORKLOAD_LABELS: Final = (
    ("deployment", "Deployment"),
    ("exported_deployment", "Deployment"),
    ("statefulset", "StatefulSet"),
    ("daemonset", "DaemonSet"),
    ("replicaset", "ReplicaSet"),
    ("cronjob", "CronJob"),
    ("job_name", "Job"),
    ("k8s.deployment.name", "Deployment"),
    ("k8s.statefulset.name", "StatefulSet"),
    ("k8s.replicaset.name", "ReplicaSet"),
    ("k8s.daemonset.name", "DaemonSet"),
    ("k8s.cronjob.name", "CronJob"),
    ("k8s.job.name", "Job"),
    ("scaletargetref_name", "Deployment"),
    ("horizontalpodautoscaler", "Deployment"),
    ("aws.ecs.task.family", "Deployment"),
    ("faas.name", "Deployment"),
)
OWNER_LABELS: Final = (
    *(one for one in WORKLOAD_LABELS if one[0].startswith("k8s.")),
    ("owner_name", "owner_kind"),
    ("created_by_name", "created_by_kind"),
)
"""Labels that name a pod's owner: (label, its kind or the label that holds its kind)."""

NODE_METRICS: Final = ("node_", "kube_node_", "machine_", "windows_")
NODE_JOBS: Final = frozenset({"node", "node-exporter", "node_exporter", "windows", "windows-exporter"})
RUNTIME_METRICS: Final = ("container_", "kubelet_")
"""Of the node, where they name no pod."""

_PROBE_METRICS: Final = "probe_"
_OBJECT_METRICS: Final = "kube_"
_CLOUD_METRICS: Final = "aws_"  # of which any label may count
_ASKED_METRICS: Final = (NODE_METRICS, RUNTIME_METRICS, _PROBE_METRICS, _OBJECT_METRICS)

COMPOSE_SERVICE: Final = (
    "container_label_com_docker_compose_service",
    "com_docker_compose_service",
    "com.docker.compose.service",
)
COMPOSE_PROJECT: Final = tuple(label.replace("service", "project") for label in COMPOSE_SERVICE)
CONTAINER_LABELS: Final = ("container.name", "container_name")
CLAIM_LABELS: Final = ("persistentvolumeclaim", "k8s.persistentvolumeclaim.name")
ARN_LABELS: Final = ("cloud.resource_id", "arn", "resource_arn")
ACCOUNT_LABELS: Final = ("cloud.account.id", "account_id", "aws_account_id")
# dimensions of CloudWatch as its exporters write them, in this order: what is listed first names more
_DIMENSIONS: Final = (
    ("dbinstance_identifier", "database"),
    ("dbcluster_identifier", "database"),
    ("cache_cluster_id", "database"),
    ("table_name", "database"),
    ("bucket_name", "database"),
    ("queue_name", "queue"),
    ("topic_name", "queue"),
    ("stream_name", "queue"),
    ("function_name", "service"),
    ("service_name", "service"),
    ("target_group", "service"),
    ("load_balancer", "service"),
    ("instance_id", "node"),
)
IDENTITY_LABELS: Final = frozenset(
    {
        *APP_LABELS,
        *SERVICE_LABELS,
        *POD_LABELS,
        *NAMESPACE_LABELS,
        *NODE_LABELS,
        *(label for label, _ in WORKLOAD_LABELS),
        *("__name__", "instance", "exported_instance", "job", "exported_job", "container", "container_name"),
        *(*COMPOSE_SERVICE, *COMPOSE_PROJECT, *ARN_LABELS, *ACCOUNT_LABELS, *CONTAINER_LABELS, "container.id"),
        *(
            "metrics_path",
            "controller_pod",
            "owner_is_controller",
            "service.instance.id",
            "k8s.pod.uid",
            "k8s.node.uid",
        ),
        *("container_id", "cluster", "prometheus", "prometheus_replica", "endpoint", "uid", "pod_ip", "host_ip"),
        *("pod_template_hash", "image", "image_id", "created_by_kind", "created_by_name", "owner_kind", "owner_name"),
    }
)
"""Labels that say who speaks, and so are no part of what is measured."""

ASKED_LABELS: Final = IDENTITY_LABELS - {"__name__"} | {
    *CLAIM_LABELS,
    *(name for owner in OWNER_LABELS for name in owner),
    *("exported_service", "exported_pod", "reporter", "name"),
    *(f"{side}_workload{of}" for side in ("source", "destination") for of in ("", "_namespace")),
}
"""Labels of which the entity depends on the values; of a metric's name, it is only how it begins."""

_HASH: Final = r"(?=[a-z0-9]*[0-9]|[^aeiou]*(?:-|$))"  # has a digit, or no vowel: no English word is taken for a hash
_DEPLOYMENT_POD: Final = re.compile(rf"(.+)-{_HASH}[a-z0-9]{{6,10}}-{_HASH}[a-z0-9]{{5}}")
_REPLICASET: Final = re.compile(rf"(.+)-{_HASH}[a-z0-9]{{6,10}}")
_SUFFIXED_POD: Final = re.compile(r"(.+)-[bcdfghjklmnpqrstvwxz2456789]{5}")  # the alphabet of Kubernetes' own suffixes
_STATEFUL_POD: Final = re.compile(r"(.+)-[0-9]{1,4}")
_TIMED_JOB: Final = re.compile(r"(.+)-[0-9]{8,10}")
_CONFIG_ENDING: Final = re.compile(r"(.+?)-(?:config|configmap|conf|cm|env|settings|secrets?|credentials)")
_OVERRIDE_FORM: Final = re.compile(r"[^=\s]+=.+")
_ENTITY_FORM: Final = re.compile(r"[^/\s]+/[^/\s]+/[^/\s]+/[^/\s]+")
_NAMED_KINDS: Final = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "CronJob", "ReplicationController", "Rollout"}
)
_ARN: Final = re.compile(r"arn:[^:]*:([^:]+):[^:]*:([^:]*):(.+)", re.DOTALL)
# kind by AWS service, or service and type of resource, with which part of the resource is its name (or the last)
_OF_ARN: Final[Mapping[str, Mapping[str, int]]] = {
    "service": {
        "ecs:service": 2,
        "ecs:cluster": 1,
        "ecs:task-definition": 1,
        "eks:cluster": 1,
        "eks:nodegroup": 1,
        "lambda:function": 1,
        "apprunner:service": 1,
        "states:stateMachine": 1,
        "autoscaling:autoScalingGroup": 3,
        "elasticloadbalancing:loadbalancer": 2,
        "elasticloadbalancing:targetgroup": 1,
        "codedeploy:application": 1,
        "codedeploy:deploymentgroup": 1,
    },
    "node": {"ec2:instance": 1},
    "database": {
        "rds:db": 1,
        "rds:cluster": 1,
        "dynamodb:table": 1,
        "redshift:cluster": 1,
        "es:domain": 1,
        "s3": 0,
        "elasticache:cluster": 1,
        "elasticache:replicationgroup": 1,
        "elasticfilesystem:file-system": 1,
    },
    "queue": {
        "sqs": 0,
        "sns": 0,
        "kinesis:stream": 1,
        "firehose:deliverystream": 1,
        "kafka:cluster": 1,
        "mq:broker": 1,
        "events:event-bus": 1,
    },
    "ci": {"cloudformation:stack": 1, "codebuild:project": 1, "codepipeline": 0, "ecr:repository": 9},
}
_NO_SERVICE: Final = "unknown_service"  # what OpenTelemetry's SDKs say when nobody told them
_SCHEME: Final = re.compile(r"^[a-z][a-z0-9+.\-]*://")
_REPLICA: Final = re.compile(r"[-_][0-9]{1,4}$")
_PRODUCTION: Final = re.compile(r"(?i)(?:prod|production|prd|live)(?:[-_/.].*)?")
_CACHE_ENTRIES: Final = 100_000  # some 30 MB; telemetry that names more distinct things a day than this is rare

Found = tuple[str, str, str, str]
"""What a rule finds: kind, namespace, name, and the rule in words."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Maps what telemetry says of itself to entities; pure, and cached by distinct input (bounded).

    scope              first part of every id: the cluster or tenant; change it when telemetry of several meets
    default_namespace  namespace of services that name none
    overrides          entity by label match, as `{"app=legacy-shop": "prod/service/shop/legacy"}`; use it when two
                       inputs call one thing by two names
    clean              returns what stands for a namespace or a name that must not be kept (two that differ stay two),
                       and any other as it is; overrides see what was said, and name as they are told

    Raises ConfigError when an override has another form.

    >>> Identity("demo").of_pod("payments-7d9c5b8f4d-x2x9z", "shop")
    'demo/service/shop/payments'
    """

    scope: str = "default"
    default_namespace: str = "default"
    overrides: Mapping[str, str] = field(default_factory=dict)
    clean: Callable[[str], str] = field(default=str, repr=False, compare=False)
    _cache: dict[Any, tuple[str, str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for key, entity in self.overrides.items():
            if not _OVERRIDE_FORM.fullmatch(key):
                raise ConfigError(f"identity.overrides: '{key}' is not of the form label=value")
            if not _ENTITY_FORM.fullmatch(entity):
                raise ConfigError(f"identity.overrides: '{entity}' (of '{key}') is not scope/kind/namespace/name")

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return every scope that an entity may get: its own, and those that overrides name."""
        return tuple(sorted({self.scope, *(scope_of(entity) for entity in self.overrides.values())}))

    def of_pod(
        self, pod: str, namespace: str = "", labels: Mapping[str, str] | None = None, owners: Owners | None = None
    ) -> str:
        """Return the service that the pod belongs to."""
        key = ("pod", pod, namespace, _items(labels), tuple(owners or ()))
        return self._named(key, lambda: self._of_pod(pod, namespace, labels or {}, owners or ()), labels)[0]

    def of_labels(self, labels: Mapping[str, str]) -> str:
        """Return the entity that a metric with these labels is about (`__name__` may be among them)."""
        return self.explain(labels)[0]

    def of_resource(self, attributes: Mapping[str, Any]) -> str:
        """Return the service that a span or log with these resource attributes comes from."""
        labels = {key: str(value) for key, value in attributes.items() if isinstance(value, str | int)}
        return self._named(("res", _items(labels)), lambda: self._of_resource(labels), labels)[0]

    def of_object(self, manifest: Mapping[str, Any]) -> str:
        """Return the entity that a Kubernetes object belongs to; missing or odd parts are taken as absent."""
        metadata = _mapping(manifest.get("metadata"))
        spec = _mapping(manifest.get("spec"))
        kind = _text(manifest.get("kind"))
        labels = {key: value for key, value in _mapping(metadata.get("labels")).items() if isinstance(value, str)}
        target = ""
        if kind == "Service":
            target = _first(_mapping(spec.get("selector")), APP_LABELS)
        elif kind == "HorizontalPodAutoscaler":
            target = _text(_mapping(spec.get("scaleTargetRef")).get("name"))
        return self.of_involved(
            kind,
            _text(metadata.get("namespace")),
            _text(metadata.get("name")),
            labels,
            owners_of(metadata.get("ownerReferences")),
            target,
        )

    def of_involved(
        self,
        kind: str,
        namespace: str,
        name: str,
        labels: Mapping[str, str] | None = None,
        owners: Owners | None = None,
        target: str = "",
    ) -> str:
        """Return the entity of the object that an event is about; `target` is what the object selects or scales."""
        key = ("obj", kind, namespace, name, _items(labels), tuple(owners or ()), target)
        return self._named(
            key, lambda: self._of_object(kind, namespace, name, labels or {}, owners or (), target), labels
        )[0]

    def service(self, name: str, namespace: str = "") -> str:
        """Return the service of that name."""
        return self._named(("svc", name, namespace), lambda: ("service", namespace, name, "a service's name"), None)[0]

    def node(self, name: str) -> str:
        """Return the node of that name (a port is taken off)."""
        return self._named(("node", name), lambda: ("node", "-", _host(name), "a node's name"), None)[0]

    def account(self, name: str) -> str:
        """Return the cost account of that name."""
        return self._named(("account", name), lambda: ("account", "-", name, "an account's name"), None)[0]

    def ci(self, name: str) -> str:
        """Return the repository, project or pipeline of that name, which builds and deploys."""
        return self._named(("ci", name), lambda: ("ci", "-", name, "a repository's name"), None)[0]

    def of_arn(self, arn: str) -> str:
        """Return the entity of an AWS resource; text that is no ARN is the account `unattributed`.

        >>> Identity("demo").of_arn("arn:aws:ecs:eu-west-1:123456789012:service/shop/checkout")
        'demo/service/default/checkout'
        """
        return self._named(("arn", arn), lambda: _of_arn(arn), {"arn": arn})[0]

    def deployed(self, path: str, environment: str = "", production: bool | None = None) -> str:
        """Return the service that the repository at `path` delivers to an environment.

        `production` tells whether the environment is; where nobody says (None), its name does.

        >>> Identity("demo").deployed("group/checkout", "staging")
        'demo/service/staging/checkout'
        """
        if production is None:
            production = not environment or _PRODUCTION.fullmatch(environment) is not None
        found = (
            "service",
            "" if production else environment,
            path.rstrip("/").rpartition("/")[2],
            "what a repository delivers",
        )
        labels = {"ci": path, "environment": environment}
        return self._named(("deployed", path, environment, production), lambda: found, labels)[0]

    def explain(self, labels: Mapping[str, str]) -> tuple[str, str]:
        """Return the entity of `labels` and the rule that named it, in words.

        >>> Identity("demo").explain({"namespace": "shop", "app": "store"})
        ('demo/service/shop/store', 'label app')
        """
        return self._named(("labels", *self._asked(labels)), lambda: self._of_labels(labels), labels)

    def _asked(self, labels: Mapping[str, str]) -> tuple[Any, ...]:
        """Return what the rules ask of labels: series differ by much else, and need not be looked at again for it."""
        metric = labels.get("__name__", "")
        if self.overrides or metric.startswith(_CLOUD_METRICS):
            return _items(labels)
        said = tuple(sorted([item for item in labels.items() if item[0] in ASKED_LABELS]))
        return said, tuple([metric.startswith(of) for of in _ASKED_METRICS])

    def _named(self, key: Any, rule: Callable[[], Found], labels: Mapping[str, str] | None) -> tuple[str, str]:
        known = self._cache.get(key)
        if known is not None:
            return known
        kind, namespace, name, why = rule()
        override = self._override(kind, name, labels or {}) if self.overrides else None
        if override is not None:
            named = self.overrides[override], f"override {override}"
        else:
            if kind == "service":
                namespace = namespace or self.default_namespace
            named = f"{self.scope}/{kind}/{self._part(namespace)}/{self._part(name)}", why
        if len(self._cache) >= _CACHE_ENTRIES:
            self._cache.clear()
        self._cache[key] = named
        return named

    def _part(self, said: str) -> str:
        part = entity_part(self.clean(said))
        return part if part == said else entity_part(self.clean(part))  # what is taken out may have hidden something

    def _override(self, kind: str, name: str, labels: Mapping[str, str]) -> str | None:
        said = {f"{key}={value}" for key, value in labels.items()}
        said |= {f"{key}={name}" for key in (("app", "service") if kind == "service" else (kind,))}
        return next((key for key in sorted(self.overrides) if key in said), None)

    def _of_pod(self, pod: str, namespace: str, labels: Mapping[str, str], owners: Owners) -> Found:
        for kind, name in (*owners, *_owners_in(labels)):
            if kind == "Node" and pod.endswith("-" + name):
                return "service", namespace, pod[: -len(name) - 1], "static pod without its node's name"
            if kind != "Node" and name:
                return "service", namespace, _workload(kind, name), f"owner {kind}"
        for shape, what in (
            (_DEPLOYMENT_POD, "pod of a deployment"),
            (_SUFFIXED_POD, "pod of a daemonset or job"),
            (_STATEFUL_POD, "pod of a statefulset"),
        ):
            match = shape.fullmatch(pod)
            if match:
                return "service", namespace, match[1], f"name's shape: {what}"
        return _by_label(labels, namespace) or ("service", namespace, pod, "pod's own name")

    def _of_labels(self, labels: Mapping[str, str]) -> Found:
        namespace = _first(labels, NAMESPACE_LABELS)
        found = _of_machine(labels) or _moved_aside(labels, namespace) or _of_mesh(labels)
        if found:
            return found
        pod = _first(labels, POD_LABELS)
        if pod:
            return self._of_pod(pod, namespace, labels, ())
        return (
            self._of_workload(labels, namespace)
            or _by_label(labels, namespace)
            or _of_cloud(labels)
            or _of_host(labels, namespace)
            or _of_scrape(labels, namespace)
        )

    def _of_workload(self, labels: Mapping[str, str], namespace: str) -> Found | None:
        claim = _first(labels, CLAIM_LABELS)
        if claim:
            pod = claim.partition("-")[2]
            match = _STATEFUL_POD.fullmatch(pod)
            return "service", namespace, match[1] if match else claim, "a volume claim's pod"
        for label, kind in WORKLOAD_LABELS:
            if labels.get(label):
                return "service", namespace, _workload(kind, labels[label]), f"label {label}"
        return None

    def _of_resource(self, labels: Mapping[str, str]) -> Found:
        return self._of_labels({key: value for key, value in labels.items() if key != "__name__"})

    def _of_object(
        self, kind: str, namespace: str, name: str, labels: Mapping[str, str], owners: Owners, target: str
    ) -> Found:
        if kind == "Node":
            return "node", "-", name, "object Node"
        if kind == "Pod":
            return self._of_pod(name, namespace, labels, owners)
        if kind in _NAMED_KINDS:
            return "service", namespace, name, f"object {kind}"
        if kind in ("ReplicaSet", "Job"):
            for owner_kind, owner in owners:
                return "service", namespace, _workload(owner_kind, owner), f"owner {owner_kind}"
            return "service", namespace, _workload(kind, name), f"object {kind}"
        if target:
            return "service", namespace, target, f"target of {kind}"
        ending = _CONFIG_ENDING.fullmatch(name)
        return _by_label(labels, namespace) or ("service", namespace, ending[1] if ending else name, f"object {kind}")


def owners_of(references: Any) -> tuple[tuple[str, str], ...]:
    """Return owner references of a manifest or event as (kind, name), the controller first; odd ones are skipped."""
    found = [one for one in references if isinstance(one, Mapping)] if isinstance(references, list) else []
    found.sort(key=lambda one: one.get("controller") is not True)
    return tuple((_text(one.get("kind")), _text(one.get("name"))) for one in found if one.get("name"))


def _owners_in(labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for label, kind in OWNER_LABELS:
        name = labels.get(label, "")
        if name and name != "<none>":
            yield labels.get(kind, kind), name


def _of_machine(labels: Mapping[str, str]) -> Found | None:
    metric, instance = labels.get("__name__", ""), labels.get("instance", "")
    node = _first(labels, NODE_LABELS) or instance
    if node and (metric.startswith(NODE_METRICS) or labels.get("job") in NODE_JOBS):
        return "node", "-", _host(node), "metric about a node"
    if not metric.startswith(RUNTIME_METRICS) or _first(labels, (*POD_LABELS, *CLAIM_LABELS)):
        return None
    composed = _of_compose(labels)
    return composed or (("node", "-", _host(node), "what a node's runtime says of no pod") if node else None)


def _of_compose(labels: Mapping[str, str]) -> Found | None:
    service = _first(labels, COMPOSE_SERVICE)
    return ("service", _first(labels, COMPOSE_PROJECT), service, "Compose service") if service else None


def _moved_aside(labels: Mapping[str, str], namespace: str) -> Found | None:
    """Return the service that a scraper's own labels pushed aside; what they left alone is the exporter's."""
    service = labels.get("exported_service", "")
    if service and not labels.get("exported_pod"):
        return "service", namespace, service, "label exported_service"
    if labels.get("__name__", "").startswith(_PROBE_METRICS) and labels.get("instance"):
        return "service", namespace, _host(_SCHEME.sub("", labels["instance"]).partition("/")[0]), "host of a probe"
    return None


def _of_mesh(labels: Mapping[str, str]) -> Found | None:
    side = labels.get("reporter", "")
    if side not in ("source", "destination"):
        return None
    workload = labels.get(f"{side}_workload", "")
    if workload in ("", "unknown"):
        return None
    return "service", labels.get(f"{side}_workload_namespace", ""), workload, f"label {side}_workload"


def _of_cloud(labels: Mapping[str, str]) -> Found | None:
    arn = _first(labels, ARN_LABELS) or labels.get("name", "")
    if _ARN.fullmatch(arn):
        return _of_arn(arn)
    if not labels.get("__name__", "").startswith(_CLOUD_METRICS):
        return None
    said = {_snake(label): value for label, value in labels.items()}
    for dimension, kind in _DIMENSIONS:
        if name := said.get(dimension) or said.get(f"dimension_{dimension}", ""):
            return kind, "" if kind == "service" else "-", name, f"CloudWatch's dimension {dimension}"
    return None


def _of_host(labels: Mapping[str, str], namespace: str) -> Found | None:
    composed = _of_compose(labels)
    container = _first(labels, CONTAINER_LABELS).lstrip("/")
    node, identifier = _first(labels, NODE_LABELS), labels.get("container.id") or labels.get("container_id", "")
    if composed:
        return composed
    if container:
        return "service", namespace, _REPLICA.sub("", container), "a container's name"
    if node:
        return "node", "-", _host(node), "label of a node"
    if identifier:
        return "service", namespace, identifier.rpartition("/")[2][:12], "a container's id"
    account = _first(labels, ACCOUNT_LABELS)
    return ("account", "-", account, "a cloud account") if account else None


def _of_scrape(labels: Mapping[str, str], namespace: str) -> Found:
    job, instance = labels.get("job", ""), labels.get("instance", "")
    if job and not labels.get("__name__", "").startswith(_OBJECT_METRICS):  # which speak of others than their exporter
        first, _, last = job.rpartition("/")
        return "service", namespace or first, last, "label job"
    if instance and not job:
        return "service", namespace, _host(instance), "label instance"
    return "service", namespace, UNATTRIBUTED, "nothing names an entity"


def _of_arn(arn: str) -> Found:
    match = _ARN.fullmatch(arn)
    if match is None:
        return "account", "-", UNATTRIBUTED, "no ARN"
    service, account, resource = match.groups()
    parts = re.split("[:/]", resource)
    for kind, places in _OF_ARN.items():
        for key in (f"{service}:{parts[0]}", service):
            if key in places:
                name = parts[min(places[key], len(parts) - 1)]
                return kind, "" if kind == "service" else "-", name, f"ARN of {key}"
    return "account", "-", account or service, "ARN's account"


def _by_label(labels: Mapping[str, str], namespace: str) -> Found | None:
    for label in (*APP_LABELS, *SERVICE_LABELS):
        if labels.get(label) and not labels[label].startswith(_NO_SERVICE):
            return "service", namespace, labels[label], f"label {label}"
    return None


def _workload(kind: str, name: str) -> str:
    """Return the name of the workload behind an owner."""
    shape = {"ReplicaSet": _REPLICASET, "Job": _TIMED_JOB}.get(kind)
    match = shape.fullmatch(name) if shape else None
    return match[1] if match else name


def _first(labels: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((value for name in names if isinstance(value := labels.get(name), str) and value), "")


def _items(labels: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items())) if labels else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _snake(label: str) -> str:
    """Return a dimension's name as exporters write it, whether they kept its capitals or not."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", label).lower()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _host(address: str) -> str:
    """Return a host without its port; an IPv6 address without brackets has none."""
    host, colon, port = address.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() and (host.count(":") == 0 or host.endswith("]")) else address
