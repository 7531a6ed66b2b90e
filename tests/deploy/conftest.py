"""The programs of others that what is in `deploy/` is tried with: the same launchers as in tests/parts."""

from tests.kafka.conftest import broker, compiled_once  # noqa: F401
from tests.parts.conftest import cluster, launch, prometheus2, prometheus3, running  # noqa: F401
