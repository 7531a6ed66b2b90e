"""What the shop is made of: its services, their versions and settings, and the two nodes they run on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMESPACE = "shop"
REGISTRY = "registry.example/shop"
CONTAINER_PORT = 8080


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """Names one service: what runs at the start, where, and with which settings.

    `settings` become a ConfigMap and, unchanged, the environment of the process.
    """

    name: str
    version: str
    node: str
    cpu_request: str = "100m"
    cpu_limit: str = "1"
    memory_request: str = "64Mi"
    memory_limit: str = "256Mi"
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """Names one node and its capacity, as its kubelet would report it."""

    name: str
    address: str
    pod_network: str
    cpu: str = "4"
    memory: str = "8Gi"


NODES: tuple[NodeSpec, ...] = (
    NodeSpec("shop-node-1", "10.0.0.11", "10.244.1"),
    NodeSpec("shop-node-2", "10.0.0.12", "10.244.2"),
)

# Callees first: a pod is ready only when what it calls has an address.
SERVICES: tuple[ServiceSpec, ...] = (
    ServiceSpec("store", "3.1.0", "shop-node-2", settings={"SLOW_WRITE_MS": "25", "SNAPSHOT_S": "60"}),
    ServiceSpec("inventory", "2.3.0", "shop-node-2", settings={"STORE_TIMEOUT_S": "1.0", "RESTOCK_BELOW": "20"}),
    ServiceSpec("payments", "1.4.2", "shop-node-1", settings={"STORE_TIMEOUT_S": "2.0", "LEDGER_WAIT_S": "5.0"}),
    ServiceSpec("orders", "4.0.1", "shop-node-2", settings={"PAYMENTS_TIMEOUT_S": "1.5", "INVENTORY_TIMEOUT_S": "1.0"}),
    ServiceSpec("gateway", "2.0.3", "shop-node-1", settings={"ORDERS_TIMEOUT_S": "3.0"}),
)


def service(name: str) -> ServiceSpec:
    """Return the service of that name.

    Raises:
        KeyError: the shop has no such service.
    """
    return {spec.name: spec for spec in SERVICES}[name]


def image(name: str, version: str) -> str:
    """Return the image reference of one version of a service."""
    return f"{REGISTRY}/{name}:{version}"
