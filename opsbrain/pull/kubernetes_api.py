"""Lists and watches one resource of a cluster through the official client, as raw JSON.

The client finds and renews credentials (kubeconfig, service account); its typed objects are left aside: they cost a
hundred times what the bytes cost, and refuse what a newer cluster says.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from engine.errors import ConfigError, DataError, OpsBrainError, Permanent, Retryable
from ingest.refused import UNREADABLE
from opsbrain.output import printable

KEY: Final = "pull.kubernetes.kubeconfig"
_PAGE_ITEMS: Final = 500
_CONNECT_S: Final = 10
_WATCH_S: Final = 120  # the server ends a watch then; a connection that died unnoticed is noticed soon after
_SILENCE_S: Final = _WATCH_S + 15
_RETRY_S: Final = 5.0

Json = dict[str, Any]


class Expired(DataError):
    """The resourceVersion is older than what the cluster remembers (410 Gone): everything must be listed anew."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object and how the client lists it."""

    kind: str
    api_version: str
    api: str  # class of the client
    noun: str  # in the names of its methods

    @property
    def namespaced(self) -> bool:
        """Return whether its objects live in namespaces."""
        return self.kind != "Node"


EVENTS: Final = Resource("Event", "v1", "CoreV1Api", "event")
OBJECTS: Final = (
    Resource("Deployment", "apps/v1", "AppsV1Api", "deployment"),
    Resource("StatefulSet", "apps/v1", "AppsV1Api", "stateful_set"),
    Resource("DaemonSet", "apps/v1", "AppsV1Api", "daemon_set"),
    Resource("ReplicaSet", "apps/v1", "AppsV1Api", "replica_set"),
    Resource("Pod", "v1", "CoreV1Api", "pod"),
    Resource("Node", "v1", "CoreV1Api", "node"),
    Resource("Service", "v1", "CoreV1Api", "service"),
    Resource("ConfigMap", "v1", "CoreV1Api", "config_map"),
    Resource("ResourceQuota", "v1", "CoreV1Api", "resource_quota"),
    Resource("LimitRange", "v1", "CoreV1Api", "limit_range"),
    Resource("HorizontalPodAutoscaler", "autoscaling/v2", "AutoscalingV2Api", "horizontal_pod_autoscaler"),
)
"""What is watched. Secrets are not, and the role shipped in deploy/cluster/reader.yaml does not allow it."""


class Access(Protocol):
    """What a watch needs of a cluster. Errors: Expired, Retryable (try later), Permanent (an operator must act)."""

    def list(self, resource: Resource) -> tuple[list[Json], str]:
        """Return all objects of the resource, and the resourceVersion they were read at."""

    def watch(self, resource: Resource, version: str) -> Iterator[bytes]:
        """Yield the lines that tell what happened since `version`, until the connection ends."""

    def close(self) -> None:
        """End a watch under way, from another thread."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Which cluster is watched, and as whom.

    kubeconfig   path of a kubeconfig; empty: the service account of the pod that we run in, else the user's kubeconfig
    context      context in it; empty: its current one
    namespace    the only namespace to watch; empty: all, and the nodes
    """

    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""

    def resources(self) -> tuple[Resource, ...]:
        """Return what can be watched: nodes are in no namespace."""
        return (EVENTS, *(one for one in OBJECTS if one.namespaced or not self.namespace))


class ClientAccess:
    """Reaches a cluster through the official client. One of these serves one watch."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._client: Any = None
        self._response: Any = None
        self._closed = threading.Event()

    def list(self, resource: Resource) -> tuple[list[Json], str]:
        """Return all objects of the resource, page by page, and the resourceVersion they were read at."""
        items: list[Json] = []
        token = ""
        while True:
            response = self._call(resource, limit=_PAGE_ITEMS, **({"_continue": token} if token else {}))
            page = _decoded(_read(response), resource)
            items += page.items
            token = page.metadata.token
            if not token:
                return items, page.metadata.resourceVersion

    def watch(self, resource: Resource, version: str) -> Iterator[bytes]:
        """Yield the lines of a watch; a connection that breaks ends it like one that the server ends."""
        response = self._call(
            resource, watch=True, resource_version=version, timeout_seconds=_WATCH_S, allow_watch_bookmarks=True
        )
        self._response = response
        held = b""
        try:
            for chunk in () if self._closed.is_set() else _chunks(response):
                *lines, held = (held + chunk).split(b"\n")
                yield from (line for line in lines if line)
        finally:
            self._response = None
            response.close()

    def close(self) -> None:
        """End a watch under way: its connection is shut, which its reader takes for the end."""
        self._closed.set()
        connection = getattr(self._response, "connection", None)
        sock = getattr(connection, "sock", None)
        if isinstance(sock, socket.socket):
            try:
                # Not SSLSocket's own: that takes the TLS layer away from under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                return  # it had ended by itself

    def _call(self, resource: Resource, **parameters: Any) -> Any:
        import urllib3
        from kubernetes.client.exceptions import ApiException

        if self._closed.is_set():
            raise Retryable("stopped", _RETRY_S)
        try:
            with _credential_errors(self._config):
                return self._method(resource)(
                    _preload_content=False, _request_timeout=(_CONNECT_S, _SILENCE_S), **parameters
                )
        except ApiException as error:
            self._client = None  # credentials may have been renewed
            raise _refusal(error.status, resource) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._client = None
            raise Retryable(f"the cluster cannot be reached: {type(error).__name__}", _RETRY_S) from None

    def _method(self, resource: Resource) -> Any:
        from kubernetes import client

        if self._client is None:
            self._client = _connected(self._config)
        api = getattr(client, resource.api)(self._client)
        if not resource.namespaced:
            return getattr(api, f"list_{resource.noun}")
        if not self._config.namespace:
            return getattr(api, f"list_{resource.noun}_for_all_namespaces")
        listed = getattr(api, f"list_namespaced_{resource.noun}")
        return lambda **parameters: listed(self._config.namespace, **parameters)


class _Meta(msgspec.Struct):
    resourceVersion: str = ""
    token: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _Meta
    items: list[Json] | None = None


@dataclass(frozen=True, slots=True)
class _Whole:
    metadata: _Meta
    items: list[Json]


def _decoded(body: bytes, resource: Resource) -> _Whole:
    try:
        page = msgspec.json.decode(body, type=_Page)
    except UNREADABLE as error:
        raise Retryable(f"the list of {resource.kind} objects cannot be read", _RETRY_S) from error
    return _Whole(page.metadata, page.items or [])


def _read(response: Any) -> bytes:
    """Return the whole answer; raise Retryable when it breaks off."""
    import urllib3

    try:
        return bytes(response.data)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Retryable(f"the cluster's answer broke off: {type(error).__name__}", _RETRY_S) from None


def _chunks(response: Any) -> Iterator[bytes]:
    """Yield what comes, until it ends or breaks off: the next watch goes on where this one stood."""
    import urllib3

    try:
        yield from response.stream(amt=None, decode_content=True)
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        return


def _refusal(status: int | None, resource: Resource) -> OpsBrainError:
    """Return what an answer other than success means; nothing of the answer itself, which may quote the request."""
    if status == 410:
        return Expired("the resourceVersion has expired")
    if status == 401:
        return Permanent("the cluster does not accept the credentials; operator action: renew the kubeconfig or token")
    if status == 403:
        return Permanent(
            f"{resource.kind} objects may not be listed or watched; operator action: grant the rules of "
            "deploy/cluster/reader.yaml"
        )
    if status == 404:
        kind = f"{resource.api_version} {resource.kind}"
        return Permanent(f"the cluster does not know {kind}; operator action: none, where it is older than that")
    return Retryable(f"the cluster answered {status}", _RETRY_S)


def _connected(named: ClusterConfig) -> Any:
    """Return an API client with the credentials that `named` names; raise ConfigError when they cannot be read."""
    from kubernetes import client, config

    credentials: Any = config  # its functions are untyped
    found = client.Configuration()
    found.retries = False  # who polls decides when to try again
    try:
        if named.kubeconfig or named.context:
            credentials.load_kube_config(named.kubeconfig or None, named.context or None, found)
        else:
            _load_default(credentials, found)
    except OSError as error:
        raise ConfigError(f"{_where(named)}: cannot be read: {error.strerror}") from None
    return client.ApiClient(found)


def _load_default(credentials: Any, found: Any) -> None:
    try:
        credentials.load_incluster_config(client_configuration=found)
    except credentials.ConfigException:
        credentials.load_kube_config(client_configuration=found)


@contextmanager
def _credential_errors(named: ClusterConfig) -> Iterator[None]:
    """Turn what the client raises over credentials, as it reads, renews or sends them, into ConfigError.

    It takes a kubeconfig to be well-formed, and one that is not fails wherever it is used first. Nothing is told of
    what the file holds.
    """
    import yaml
    from kubernetes.config import ConfigException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except HTTPError:  # some are ValueErrors, and are about the network
        raise
    except ConfigException as error:
        why = printable(str(error).partition("{")[0])[:200]  # behind the brace it quotes
        raise ConfigError(f"{_where(named)}: no credentials for a cluster: {why}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(f"{_where(named)}: not YAML" + (f" (line {mark.line + 1})" if mark else "")) from None
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{_where(named)}: no kubeconfig that can be used: {type(error).__name__}") from None


def _where(named: ClusterConfig) -> str:
    return f"{KEY}: {named.kubeconfig or 'service account, or else the usual kubeconfig'}"
