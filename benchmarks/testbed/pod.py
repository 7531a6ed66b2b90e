"""The process of one pod: `python -m benchmarks.testbed.pod --service payments --version 1.5.0 ...`.

The version chooses the code. SIGTERM stops taking requests, lets those in hand finish, and ends.
"""

import argparse
import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

from benchmarks.testbed.endpoints import Endpoints
from benchmarks.testbed.httpd import PodServer
from benchmarks.testbed.logs import Log
from benchmarks.testbed.meters import Meters
from benchmarks.testbed.runtime import App, Runtime
from benchmarks.testbed.spans import Tracer

_GRACE_S = 3.0

# Versions that differ in code. What is not listed runs the module that carries the service's name.
_MODULES = {
    ("inventory", "2.3.1"): "inventory_2_3_1",
    ("payments", "1.4.2"): "payments_1_4_2",
    ("payments", "1.5.0"): "payments_1_5_0",
}


def main() -> None:
    """Run one pod until it is told to stop."""
    args = _arguments()
    runtime = _runtime(args)
    runtime.log.say("main", f"{args.service} {args.version} starting on node {args.node}")
    server = PodServer(runtime, load_app(args.service, args.version, runtime))
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    _announce(args.port_file, server.port)
    runtime.log.say("main", f"{args.service} {args.version} listening")
    stopping.wait()
    runtime.log.say("main", "SIGTERM received, draining")
    server.shutdown()
    _drain(runtime.meters)
    sys.stdout.flush()
    os._exit(0)  # Requests that outlive the grace period are cut here, as a kubelet would.


def load_app(service: str, version: str, runtime: Runtime) -> App:
    """Build the app of one version of a service."""
    module = importlib.import_module(f"benchmarks.testbed.services.{_MODULES.get((service, version), service)}")
    app = module.build(runtime)
    assert isinstance(app, App)
    return app


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("service", "version", "pod", "pod-id", "namespace", "node"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port-file", "span-file", "endpoints", "state-dir"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    return parser.parse_args()


def _runtime(args: argparse.Namespace) -> Runtime:
    resource = {
        "service.name": args.service,
        "k8s.namespace.name": args.namespace,
        "k8s.pod.name": args.pod,
        "k8s.node.name": args.node,
    }
    return Runtime(
        service=args.service,
        version=args.version,
        settings=dict(os.environ),
        state_dir=str(args.state_dir),
        log=Log(args.service),
        meters=Meters(),
        tracer=Tracer(args.span_file, args.pod_id, resource),
        endpoints=Endpoints(args.endpoints),
    )


def _announce(port_file: Path, port: int) -> None:
    fresh = port_file.with_suffix(".new")
    fresh.write_text(str(port), encoding="ascii")
    fresh.replace(port_file)


def _drain(meters: Meters) -> None:
    until = time.monotonic() + _GRACE_S
    while meters.in_flight and time.monotonic() < until:
        time.sleep(0.02)


if __name__ == "__main__":
    main()
