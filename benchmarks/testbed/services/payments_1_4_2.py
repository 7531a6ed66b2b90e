"""Payments 1.4.2: charges a card and appends one sealed entry to the ledger."""

import itertools
import time

from benchmarks.testbed.runtime import App, Body, CallError, Request, Response, Runtime
from benchmarks.testbed.services.sealing import derive_key, seal

_SLOW_MS = 100.0


def build(runtime: Runtime) -> App:
    """Build the payment service."""
    payments = Payments(runtime)
    return App({"POST /charge": payments.charge}, ready=payments.check)


class Payments:
    """Derives its key once, at the start; its lock covers only the number of the entry."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.lock = runtime.meters.lock("ledger")
        self.wait_s = runtime.seconds("LEDGER_WAIT_S")
        self._key = derive_key(b"ledger")
        self._numbers = itertools.count(1)
        runtime.log.say("ledger", "ledger key derived")

    def check(self) -> None:
        """Be ready when the ledger can be entered."""
        with self.lock.held(self.wait_s):
            pass

    def charge(self, request: Request) -> Response:
        """Answer 201 with the entry's number, 402 for a bad card, 503 when the ledger cannot be written."""
        order, card = request.body["order"], str(request.body["card"])
        if card.endswith("0"):
            self.runtime.log.caution("cards", f"card declined for order {order}: issuer said insufficient funds")
            return Response(402, {"error": "card declined"})
        began = time.perf_counter()
        try:
            number = self.write(request, {"order": order, "amount": request.body["amount"]})
        except CallError as error:
            self.runtime.log.fail("ledger", f"ledger write failed for order {order}: {error}")
            return Response(503, {"error": "ledger unavailable"})
        took_ms = (time.perf_counter() - began) * 1000
        if took_ms > _SLOW_MS:
            self.runtime.log.caution("ledger", f"slow ledger write for order {order}: {took_ms:.0f} ms")
        self.runtime.log.say("cards", f"charged {request.body['amount']} for order {order}, entry {number}")
        return Response(201, {"entry": number})

    def write(self, request: Request, entry: Body) -> int:
        """Append the sealed entry to the ledger, and return its number there."""
        with self.lock.held(self.wait_s):
            entry["sequence"] = next(self._numbers)
        return self.append(request, entry | {"seal": seal(self._key, entry)})

    def append(self, request: Request, entry: Body) -> int:
        """Send one entry to the store."""
        return int(str(self.ask_store(request, "POST /ledger/append", entry)["number"]))

    def ask_store(self, request: Request, route: str, body: Body, tail: str = "") -> Body:
        """Call the store.

        Raises:
            CallError: it did not answer, or with an error.
        """
        timeout_s = self.runtime.seconds("STORE_TIMEOUT_S")
        answer = self.runtime.call(request.span, "store", route, body, timeout_s, tail)
        if answer.failed:
            raise CallError(f"store answered {answer.status}")
        return answer.body
