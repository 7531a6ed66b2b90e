"""Takes an order: reserves the goods in inventory, charges the card in payments, remembers the order."""

import itertools
import threading
from collections import OrderedDict

from benchmarks.testbed.runtime import App, Body, CallError, Request, Response, Runtime

_REMEMBERED = 2000


def build(runtime: Runtime) -> App:
    """Build the order service."""
    return Orders(runtime).app()


class Orders:
    """Holds the latest orders in memory; an order exists once its card is charged."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._numbers = itertools.count(1)
        self._orders: OrderedDict[str, Body] = OrderedDict()
        self._lock = threading.Lock()

    def app(self) -> App:
        """Return the routes."""
        return App({"POST /orders": self.place, "GET /orders/": self.show})

    def place(self, request: Request) -> Response:
        """Answer 201 with the order, 402 for a declined card, 409 without stock, 503 when a service fails us."""
        order = {"id": f"ord-{next(self._numbers):06d}", **request.body}
        failed = self._reserve(request, order) or self._charge(request, order)
        if failed:
            return failed
        self._remember(order)
        self._runtime.log.say("orders", f"order {order['id']} placed sku={order['sku']} amount={order['amount']}")
        return Response(201, {"order": order["id"]})

    def show(self, request: Request) -> Response:
        """Answer one order, `latest` being the newest."""
        with self._lock:
            newest = next(reversed(self._orders), "")
            found = self._orders.get(newest if request.tail == "latest" else request.tail)
        return Response(200, found) if found else Response(404, {"error": "no such order"})

    def _reserve(self, request: Request, order: Body) -> Response | None:
        answer = self._ask(
            request, order, "inventory", "POST /reserve", {"sku": order["sku"], "quantity": order["quantity"]}
        )
        if answer.status == 409:
            self._runtime.log.caution("orders", f"order {order['id']} refused: {order['sku']} is out of stock")
        return None if answer.status < 300 else answer

    def _charge(self, request: Request, order: Body) -> Response | None:
        wanted = {"order": order["id"], "amount": order["amount"], "card": order["card"]}
        answer = self._ask(request, order, "payments", "POST /charge", wanted)
        if answer.status == 402:
            self._runtime.log.caution("orders", f"order {order['id']} refused: card declined")
        return None if answer.status < 300 else answer

    def _ask(self, request: Request, order: Body, service: str, route: str, body: Body) -> Response:
        log, timeout_s = self._runtime.log, self._runtime.seconds(f"{service.upper()}_TIMEOUT_S")
        try:
            answer = self._runtime.call(request.span, service, route, body, timeout_s)
        except CallError as error:
            log.fail("client", f"call to {service} failed for order {order['id']}: {error}")
            return Response(503, {"error": f"{service} unavailable"})
        if answer.failed:
            log.fail(
                "client", f"{service} answered {answer.status} for order {order['id']}: {answer.body.get('error')}"
            )
            return Response(503, {"error": f"{service} failed"})
        return answer

    def _remember(self, order: Body) -> None:
        with self._lock:
            self._orders[str(order["id"])] = order
            if len(self._orders) > _REMEMBERED:
                self._orders.popitem(last=False)
