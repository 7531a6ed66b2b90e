"""Receivers in front of a keep that a test looks into, and makes fail."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine.errors import OpsBrainError
from opsbrain.console import FAILURES
from opsbrain.endpoints import ENDPOINTS, KUBERNETES_EVENTS
from opsbrain.http_guard import HttpGuard, access_of
from opsbrain.otlp_grpc import OtlpServer
from opsbrain.receive_body import BodyLimits, Budget
from opsbrain.receivers import Receivers, Rules
from opsbrain.settings import Http
from opsbrain.settings import Receivers as ReceiverSettings
from opsbrain.tally import Tally

HERE = "http://127.0.0.1:8080"
EVERY_FORMAT = (*sorted(set(ENDPOINTS.values())), KUBERNETES_EVENTS)


@dataclass
class Kept:
    """A keep in memory; `refusal` is raised instead, as long as it is set."""

    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    refusal: OpsBrainError | None = None

    def keep(self, format: str, body: bytes) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.bodies.append((format, body))


@dataclass
class Doors:
    """What stands behind the doors, and clients in front of them."""

    http: Http = Http()  # noqa: RUF009
    receivers: ReceiverSettings = ReceiverSettings()  # noqa: RUF009
    formats: Sequence[str] = EVERY_FORMAT
    limits: BodyLimits = BodyLimits(10_000, 5.0)  # noqa: RUF009
    budget: Budget = field(default_factory=lambda: Budget(100_000))
    kept: Kept = field(default_factory=Kept)
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.access = access_of(self.http, self.receivers)
        self.rules = Rules(self.access, self.limits, self.budget)
        receivers = Receivers(self.kept, self.formats, self.rules, self.tally)
        app = Starlette(routes=receivers.routes(), exception_handlers=FAILURES)
        self.app = HttpGuard(app, self.http, self.access, self.tally)
        self.client = TestClient(self.app, base_url=HERE)

    def post(self, path: str, body: bytes = b"{}", **headers: str):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, content=body, headers=named)

    def grpc(self, stack: ExitStack) -> str:
        """Start the gRPC server; return its address."""
        server = OtlpServer("127.0.0.1", 0, self.kept, tuple(self.formats), self.rules, self.tally)
        server.start()
        stack.callback(server.stop, 0)
        return f"127.0.0.1:{server.port}"
