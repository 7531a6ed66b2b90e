"""The programs of others that what is in `deploy/` is tried with: the same launchers as in tests/parts."""

from tests.parts.conftest import cluster, launch, prometheus2, prometheus3, running  # noqa: F401
