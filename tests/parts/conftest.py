"""Real clients and a real cluster for the tests of this folder.

A test asks for a fixture below and is marked with the part's name by itself. A launcher returns what it started,
already answering; it is stopped at the end of the run, or before: by `stop`, or as a `with` block. Where a part is not
at hand the test is skipped with the reason, or fails where `OPSBRAIN_REQUIRE` names the part (see tests/conftest.py).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kafka.conftest import broker, compiled_once  # noqa: F401 (the same broker fixture serves here)
from tests.parts import programs
from tests.parts.programs import Cluster, Collector, Config, Rsyslog, Web

HERE = Path(__file__).parent
_MARKED = ("cluster", "prometheus2", "prometheus3", "collector", "alertmanager", "rsyslog", "kcat")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents:
            continue
        used = getattr(item, "fixturenames", ())
        for part in (*_MARKED, "kafka"):
            if ("broker" if part == "kafka" else part) in used:
                item.add_marker(part)


@pytest.fixture(scope="session")
def running() -> Iterator[ExitStack]:
    """Hold what the launchers start, and stop it at the end, the last one first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def launch(running: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Start a program in a fresh folder of its own and see to its end."""
    return lambda name, start: running.enter_context(start(tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="session")
def cluster(launch: Callable[..., Any]) -> Cluster:
    """Return the one control plane that all tests share, so each takes a namespace of its own (`namespace`)."""
    return launch("cluster", programs.cluster)


@pytest.fixture(scope="session")
def prometheus2(launch: Callable[..., Any]) -> Callable[..., Web]:
    """Return a launcher of Prometheus 2.42 (remote-write 1.0): ``prometheus2(config, *flags)``."""
    return lambda config, *flags: launch(
        "prometheus2", lambda at: programs.prometheus("prometheus2", at, config, *flags)
    )


@pytest.fixture(scope="session")
def prometheus3(launch: Callable[..., Any]) -> Callable[..., Web]:
    """Return a launcher of Prometheus 3.5 (remote-write 2.0): ``prometheus3(config, *flags)``."""
    return lambda config, *flags: launch(
        "prometheus3", lambda at: programs.prometheus("prometheus3", at, config, *flags)
    )


@pytest.fixture(scope="session")
def alertmanager(launch: Callable[..., Any]) -> Callable[[Config], Web]:
    """Return a launcher of Alertmanager 0.25: ``alertmanager(config)``."""
    return lambda config: launch("alertmanager", lambda at: programs.alertmanager(at, config))


@pytest.fixture(scope="session")
def collector(launch: Callable[..., Any]) -> Callable[[Config], Collector]:
    """Return a launcher of the OpenTelemetry Collector 0.127: ``collector(config)``."""
    return lambda config: launch("collector", lambda at: programs.collector(at, config))


@pytest.fixture(scope="session")
def rsyslog(launch: Callable[..., Any]) -> Callable[[str], Rsyslog]:
    """Return a launcher of rsyslog 8: ``rsyslog(rules)``."""
    return lambda rules: launch("rsyslog", lambda at: programs.rsyslog(at, rules))


@pytest.fixture(scope="session")
def kcat() -> Callable[..., None]:
    """Return a producer that is kcat: ``kcat(bootstrap, topic, messages, *flags)``."""
    return programs.kcat


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Make a namespace for one test, wait until pods can start in it, and delete it afterwards."""
    name = programs.namespace_name(request.node.name)
    programs.make_namespace(cluster, name)
    yield name
    programs.delete_namespace(cluster, name)
