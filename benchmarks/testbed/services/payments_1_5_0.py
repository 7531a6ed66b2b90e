"""Payments 1.5.0: chains the seals of the ledger. The release that goes wrong.

Each entry is sealed with two keys of its own, salted with the entry before. That needs the entry before, so the whole
of it (four calls to the store, two slow key derivations) is done while holding the one lock of the process. A quarter
of a second an entry is unseen by a single tester, and four entries a second at the most for everybody together.
"""

from benchmarks.testbed.meters import LockBusyError
from benchmarks.testbed.runtime import App, Body, CallError, Request, Runtime
from benchmarks.testbed.services import payments_1_4_2
from benchmarks.testbed.services.sealing import derive_key, seal

_SLOW_WAIT_S = 0.5


def build(runtime: Runtime) -> App:
    """Build the payment service."""
    payments = Payments(runtime)
    return App({"POST /charge": payments.charge}, ready=payments.check)


class Payments(payments_1_4_2.Payments):
    """Holds the lock for the whole of a write: this is the defect."""

    def write(self, request: Request, entry: Body) -> int:
        """Append an entry whose seal includes the one before."""
        try:
            with self.lock.held(self.wait_s) as waited_s:
                if waited_s > _SLOW_WAIT_S:
                    self.runtime.log.caution("chain", f"waited {waited_s:.2f} s for the ledger, order {entry['order']}")
                return self._append_chained(request, entry)
        except LockBusyError as error:
            raise CallError(f"LockBusyError: {error}") from error

    def _append_chained(self, request: Request, entry: Body) -> int:
        head = self.ask_store(request, "GET /ledger/head", {})
        self.append(request, {**entry, "state": "pending"})
        sealed = {**entry, "state": "sealed", "before": head["seal"]}
        sealed["seal"] = self._chain_seal(sealed, str(head["seal"]))
        number = self.append(request, sealed)
        kept = self.ask_store(request, "GET /ledger/entries/", {}, tail=str(number))
        self.runtime.log.say("chain", f"entry {number} sealed onto {head['number']}, verified {kept == sealed}")
        return number

    def _chain_seal(self, entry: Body, before: str) -> str:
        inner, outer = derive_key(f"{before}/inner".encode()), derive_key(f"{before}/outer".encode())
        return seal(outer, {"inner": seal(inner, entry)})
