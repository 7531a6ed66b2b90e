"""One pod, node or resource is one entity, whoever speaks of it: label sets as real systems send them."""

import pytest

from ingest.identity import Identity

DEMO = Identity("demo")
STORE = "demo/service/shop/store"
NODE = "demo/node/-/n1"
POD = "store-77tk444p6s-2jpfw"

LABELS: list[tuple[str, dict[str, str], str]] = [
    (
        "ksm pod",
        {
            "__name__": "kube_pod_status_phase",
            "namespace": "shop",
            "pod": POD,
            "uid": "u",
            "phase": "Running",
            "instance": "10.0.0.9:8080",
            "job": "kube-state-metrics",
        },
        STORE,
    ),
    (
        "ksm pod, moved aside",
        {
            "__name__": "kube_pod_status_phase",
            "exported_namespace": "shop",
            "exported_pod": POD,
            "namespace": "monitoring",
            "pod": "kube-state-metrics-5f6585c9d8-fnmft",
            "job": "kube-state-metrics",
            "service": "kube-state-metrics",
        },
        STORE,
    ),
    (
        "ksm pod owner",
        {
            "__name__": "kube_pod_owner",
            "namespace": "shop",
            "pod": POD,
            "owner_kind": "ReplicaSet",
            "owner_name": "store-77tk444p6s",
            "owner_is_controller": "true",
        },
        STORE,
    ),
    (
        "ksm deployment",
        {
            "__name__": "kube_deployment_status_replicas",
            "namespace": "shop",
            "deployment": "store",
            "job": "kube-state-metrics",
            "instance": "10.0.0.9:8080",
        },
        STORE,
    ),
    (
        "ksm replicaset",
        {"__name__": "kube_replicaset_spec_replicas", "namespace": "shop", "replicaset": "store-77tk444p6s"},
        STORE,
    ),
    (
        "ksm replicaset owner",
        {
            "__name__": "kube_replicaset_owner",
            "namespace": "shop",
            "replicaset": "store-77tk444p6s",
            "owner_kind": "Deployment",
            "owner_name": "store",
        },
        STORE,
    ),
    (
        "ksm hpa",
        {
            "__name__": "kube_horizontalpodautoscaler_status_current_replicas",
            "namespace": "shop",
            "horizontalpodautoscaler": "store",
            "scaletargetref_kind": "Deployment",
            "scaletargetref_name": "store",
        },
        STORE,
    ),
    ("ksm service", {"__name__": "kube_service_info", "namespace": "shop", "service": "store"}, STORE),
    (
        "ksm job",
        {"__name__": "kube_job_status_failed", "namespace": "shop", "job_name": "backup-28391040"},
        "demo/service/shop/backup",
    ),
    (
        "ksm cronjob",
        {"__name__": "kube_cronjob_next_schedule_time", "namespace": "shop", "cronjob": "backup"},
        "demo/service/shop/backup",
    ),
    (
        "ksm pvc",
        {
            "__name__": "kube_persistentvolumeclaim_status_phase",
            "namespace": "shop",
            "persistentvolumeclaim": "data-db-0",
        },
        "demo/service/shop/db",
    ),
    (
        "ksm node",
        {
            "__name__": "kube_node_status_condition",
            "node": "n1",
            "condition": "Ready",
            "status": "true",
            "job": "kube-state-metrics",
            "instance": "10.0.0.9:8080",
        },
        NODE,
    ),
    (
        "ksm namespace",
        {
            "__name__": "kube_resourcequota",
            "namespace": "shop",
            "resourcequota": "q",
            "job": "kube-state-metrics",
            "instance": "10.0.0.9:8080",
        },
        "demo/service/shop/unattributed",
    ),
    (
        "cadvisor",
        {
            "__name__": "container_cpu_usage_seconds_total",
            "container": "server",
            "cpu": "total",
            "endpoint": "https-metrics",
            "id": "/kubepods/burstable/pod1/abc",
            "image": "r/store:1",
            "instance": "10.0.0.1:10250",
            "job": "kubelet",
            "metrics_path": "/metrics/cadvisor",
            "name": "abc",
            "namespace": "shop",
            "node": "n1",
            "pod": POD,
            "service": "kubelet",
        },
        STORE,
    ),
    (
        "cadvisor node root",
        {
            "__name__": "container_cpu_usage_seconds_total",
            "id": "/",
            "instance": "10.0.0.1:10250",
            "job": "kubelet",
            "metrics_path": "/metrics/cadvisor",
            "node": "n1",
            "service": "kubelet",
            "namespace": "kube-system",
            "endpoint": "https-metrics",
        },
        NODE,
    ),
    (
        "kubelet",
        {
            "__name__": "kubelet_running_pods",
            "instance": "10.0.0.1:10250",
            "job": "kubelet",
            "node": "n1",
            "service": "kubelet",
            "namespace": "kube-system",
            "endpoint": "https-metrics",
            "metrics_path": "/metrics",
        },
        NODE,
    ),
    (
        "kubelet volume",
        {
            "__name__": "kubelet_volume_stats_used_bytes",
            "namespace": "shop",
            "persistentvolumeclaim": "data-db-0",
            "node": "n1",
            "job": "kubelet",
            "service": "kubelet",
            "instance": "10.0.0.1:10250",
        },
        "demo/service/shop/db",
    ),
    (
        "servicemonitor app",
        {
            "__name__": "http_requests_total",
            "container": "server",
            "endpoint": "http",
            "instance": "10.1.0.7:8080",
            "job": "store",
            "namespace": "shop",
            "pod": POD,
            "service": "store",
        },
        STORE,
    ),
    (
        "podmonitor app",
        {
            "__name__": "http_requests_total",
            "container": "server",
            "endpoint": "http",
            "instance": "10.1.0.7:8080",
            "job": "shop/store",
            "namespace": "shop",
            "pod": POD,
        },
        STORE,
    ),
    (
        "kubernetes-pods job",
        {
            "__name__": "http_requests_total",
            "instance": "10.1.0.7:8080",
            "job": "kubernetes-pods",
            "kubernetes_namespace": "shop",
            "kubernetes_pod_name": POD,
            "app": "store",
            "pod_template_hash": "77tk444p6s",
        },
        STORE,
    ),
    (
        "kubernetes-endpoints job",
        {
            "__name__": "http_requests_total",
            "instance": "10.1.0.7:8080",
            "job": "kubernetes-service-endpoints",
            "namespace": "shop",
            "service": "store",
            "node": "n1",
        },
        STORE,
    ),
    (
        "helm labels",
        {
            "__name__": "http_requests_total",
            "app_kubernetes_io_name": "store",
            "app_kubernetes_io_instance": "shop",
            "namespace": "shop",
            "instance": "10.1.0.7:8080",
            "job": "kubernetes-service-endpoints",
        },
        STORE,
    ),
    (
        "node exporter",
        {"__name__": "node_cpu_seconds_total", "cpu": "0", "mode": "idle", "instance": "n1:9100", "job": "node"},
        NODE,
    ),
    (
        "node exporter in cluster",
        {
            "__name__": "node_load1",
            "container": "node-exporter",
            "endpoint": "http-metrics",
            "instance": "10.0.0.1:9100",
            "job": "node-exporter",
            "namespace": "monitoring",
            "pod": "node-exporter-x7k2p",
            "service": "node-exporter",
            "node": "n1",
        },
        NODE,
    ),
    (
        "windows exporter",
        {"__name__": "windows_cpu_time_total", "instance": "win1:9182", "job": "windows"},
        "demo/node/-/win1",
    ),
    (
        "static target",
        {"__name__": "up", "instance": "store.example.com:8080", "job": "store"},
        "demo/service/default/store",
    ),
    (
        "only instance",
        {"__name__": "up", "instance": "store.example.com:8080"},
        "demo/service/default/store.example.com",
    ),
    (
        "blackbox",
        {"__name__": "probe_success", "instance": "https://store.example.com/health", "job": "blackbox"},
        "demo/service/default/store.example.com",
    ),
    (
        "istio server",
        {
            "__name__": "istio_requests_total",
            "reporter": "destination",
            "source_workload": "cart",
            "source_workload_namespace": "shop",
            "destination_workload": "store",
            "destination_workload_namespace": "shop",
            "destination_service_name": "store",
            "pod": POD,
            "namespace": "shop",
        },
        STORE,
    ),
    (
        "istio merged no pod",
        {
            "__name__": "istio_requests_total",
            "reporter": "destination",
            "source_workload": "cart",
            "destination_workload": "store",
            "destination_workload_namespace": "shop",
            "job": "istio-mesh",
        },
        STORE,
    ),
    (
        "ingress nginx",
        {
            "__name__": "nginx_ingress_controller_requests",
            "ingress": "store",
            "exported_namespace": "shop",
            "exported_service": "store",
            "controller_pod": "ingress-nginx-controller-6d4cf56db6-9xkzq",
            "namespace": "ingress-nginx",
            "pod": "ingress-nginx-controller-6d4cf56db6-9xkzq",
            "service": "ingress-nginx-controller-metrics",
        },
        STORE,
    ),
    (
        "mysqld exporter",
        {
            "__name__": "mysql_up",
            "instance": "mysql-0.mysql:9104",
            "job": "mysql",
            "namespace": "shop",
            "pod": "mysql-0",
        },
        "demo/service/shop/mysql",
    ),
    (
        "docker compose cadvisor",
        {
            "__name__": "container_memory_usage_bytes",
            "name": "shop-store-1",
            "image": "store:1",
            "container_label_com_docker_compose_project": "shop",
            "container_label_com_docker_compose_service": "store",
            "id": "/docker/abc",
            "instance": "cadvisor:8080",
            "job": "cadvisor",
        },
        STORE,
    ),
    (
        "cloudwatch exporter rds",
        {
            "__name__": "aws_rds_cpuutilization_average",
            "dbinstance_identifier": "orders",
            "job": "aws_rds",
            "instance": "",
            "exported_job": "aws_rds",
        },
        "demo/database/-/orders",
    ),
    (
        "yace rds",
        {
            "__name__": "aws_rds_cpuutilization_average",
            "dimension_DBInstanceIdentifier": "orders",
            "name": "arn:aws:rds:eu-west-1:123456789012:db:orders",
            "region": "eu-west-1",
            "account_id": "123456789012",
        },
        "demo/database/-/orders",
    ),
    (
        "yace ec2",
        {
            "__name__": "aws_ec2_cpuutilization_average",
            "dimension_InstanceId": "i-0abc",
            "name": "arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc",
            "account_id": "123456789012",
        },
        "demo/node/-/i-0abc",
    ),
    (
        "alert",
        {
            "alertname": "KubePodCrashLooping",
            "namespace": "shop",
            "pod": POD,
            "container": "server",
            "severity": "warning",
            "job": "kube-state-metrics",
        },
        STORE,
    ),
    (
        "alert node",
        {"alertname": "NodeFilesystemFull", "instance": "n1:9100", "job": "node-exporter", "device": "/dev/sda1"},
        NODE,
    ),
    (
        "promtail",
        {
            "namespace": "shop",
            "pod": POD,
            "container": "server",
            "app": "store",
            "job": "shop/store",
            "node_name": "n1",
            "filename": "/var/log/pods/x",
            "stream": "stderr",
        },
        STORE,
    ),
]

RESOURCES: list[tuple[str, dict[str, str], str]] = [
    (
        "otlp k8sattributes",
        {
            "service.name": "store",
            "k8s.pod.name": POD,
            "k8s.namespace.name": "shop",
            "k8s.deployment.name": "store",
            "k8s.node.name": "n1",
            "k8s.pod.uid": "u",
            "container.id": "abc",
        },
        STORE,
    ),
    ("otlp pod only", {"k8s.pod.name": POD, "k8s.namespace.name": "shop"}, STORE),
    (
        "otlp operator",
        {
            "service.name": "store",
            "service.namespace": "shop",
            "service.instance.id": "shop.store-x.server",
            "k8s.deployment.name": "store",
            "k8s.namespace.name": "shop",
        },
        STORE,
    ),
    ("otlp sdk", {"service.name": "store", "service.namespace": "shop", "telemetry.sdk.language": "python"}, STORE),
    (
        "otlp unknown service",
        {"service.name": "unknown_service:python", "k8s.pod.name": POD, "k8s.namespace.name": "shop"},
        STORE,
    ),
    ("otlp unknown service alone", {"service.name": "unknown_service:python", "host.name": "n1"}, NODE),
    (
        "kubeletstats pod",
        {"k8s.pod.name": POD, "k8s.pod.uid": "u", "k8s.namespace.name": "shop", "k8s.node.name": "n1"},
        STORE,
    ),
    (
        "kubeletstats container",
        {"k8s.pod.name": POD, "k8s.namespace.name": "shop", "k8s.container.name": "server", "container.id": "abc"},
        STORE,
    ),
    ("kubeletstats node", {"k8s.node.name": "n1"}, NODE),
    (
        "k8scluster deployment",
        {"k8s.deployment.name": "store", "k8s.namespace.name": "shop", "k8s.deployment.uid": "u"},
        STORE,
    ),
    ("k8scluster replicaset", {"k8s.replicaset.name": "store-77tk444p6s", "k8s.namespace.name": "shop"}, STORE),
    (
        "k8scluster namespace",
        {"k8s.namespace.name": "shop", "k8s.namespace.uid": "u"},
        "demo/service/shop/unattributed",
    ),
    ("hostmetrics", {"host.name": "n1", "os.type": "linux"}, NODE),
    (
        "resourcedetection ec2",
        {
            "host.name": "ip-10-0-0-1",
            "host.id": "i-0abc",
            "cloud.provider": "aws",
            "cloud.account.id": "123456789012",
            "cloud.region": "eu-west-1",
        },
        "demo/node/-/ip-10-0-0-1",
    ),
    (
        "ecs",
        {
            "service.name": "store",
            "aws.ecs.task.arn": "arn:aws:ecs:eu-west-1:123456789012:task/shop/abc",
            "aws.ecs.cluster.arn": "arn:aws:ecs:eu-west-1:123456789012:cluster/shop",
            "aws.ecs.task.family": "store",
            "cloud.provider": "aws",
        },
        "demo/service/default/store",
    ),
    (
        "ecs no service.name",
        {
            "aws.ecs.task.family": "store",
            "aws.ecs.cluster.arn": "arn:aws:ecs:eu-west-1:123456789012:cluster/shop",
            "container.name": "server",
            "container.id": "abc",
        },
        "demo/service/default/store",
    ),
    (
        "lambda",
        {
            "faas.name": "store",
            "cloud.provider": "aws",
            "cloud.account.id": "123456789012",
            "cloud.resource_id": "arn:aws:lambda:eu-west-1:123456789012:function:store",
        },
        "demo/service/default/store",
    ),
    (
        "docker stats",
        {
            "container.id": "abc",
            "container.name": "shop-store-1",
            "container.image.name": "store",
            "container.runtime": "docker",
        },
        "demo/service/default/shop-store",
    ),
    ("container id only", {"container.id": "abc"}, "demo/service/default/abc"),
    (
        "prometheus receiver",
        {
            "service.name": "store",
            "service.instance.id": "10.1.0.7:8080",
            "server.address": "10.1.0.7",
            "url.scheme": "http",
        },
        "demo/service/default/store",
    ),
    ("cloud account", {"cloud.provider": "aws", "cloud.account.id": "123456789012"}, "demo/account/-/123456789012"),
    ("dc openshift", {"k8s.pod.name": "store-3-x7k2p", "k8s.namespace.name": "shop"}, "demo/service/shop/store-3"),
]


@pytest.mark.parametrize(("labels", "entity"), [one[1:] for one in LABELS], ids=[one[0] for one in LABELS])
def test_labels(labels: dict[str, str], entity: str) -> None:
    assert DEMO.of_labels(labels) == entity
    assert DEMO.explain(labels)[1]


@pytest.mark.parametrize(("labels", "entity"), [one[1:] for one in RESOURCES], ids=[one[0] for one in RESOURCES])
def test_resources(labels: dict[str, str], entity: str) -> None:
    assert DEMO.of_resource(labels) == entity


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(LABELS) + len(RESOURCES) >= 60
