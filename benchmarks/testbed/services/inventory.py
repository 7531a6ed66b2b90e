"""Inventory 2.3.0: reserves goods, and buys more when little is left."""

from benchmarks.testbed.runtime import App, CallError, Request, Response, Runtime

_FULL = 200


def build(runtime: Runtime) -> App:
    """Build the inventory service."""
    return App({"POST /reserve": Inventory(runtime).reserve})


class Inventory:
    """Knows nothing by itself: how much there is of each product is in the store."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._restock_below = int(runtime.settings["RESTOCK_BELOW"])
        self._timeout_s = runtime.seconds("STORE_TIMEOUT_S")

    def reserve(self, request: Request) -> Response:
        """Answer 200 with what is left, or 503 when the store fails us."""
        sku, quantity = str(request.body["sku"]), int(str(request.body["quantity"]))
        try:
            left = self._add(request, sku, -quantity)
            if left < self._restock_below:
                left = self._add(request, sku, _FULL)
                self._runtime.log.say("stock", f"restocked {sku}, {left} on hand")
        except CallError as error:
            self._runtime.log.fail("stock", f"could not reserve {sku}: {error}")
            return Response(503, {"error": "store unavailable"})
        self._say(sku, quantity, left)
        return Response(200, {"left": left})

    def _say(self, sku: str, quantity: int, left: int) -> None:
        self._runtime.log.say("stock", f"reserved {quantity} of {sku}, {left} left")

    def _add(self, request: Request, sku: str, amount: int) -> int:
        wanted: dict[str, object] = {"key": f"stock/{sku}", "amount": amount}
        answer = self._runtime.call(request.span, "store", "POST /kv/add", wanted, self._timeout_s)
        if answer.failed:
            raise CallError(f"store answered {answer.status}")
        return int(str(answer.body["value"]))
