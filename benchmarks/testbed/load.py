"""Shoppers: requests to the gateway at random moments, at a rate that wanders a little, whether it answers or not."""

import http.client
import json
import math
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.testbed.endpoints import Endpoints

_TIMEOUT_S = 5.0
_MOST_AT_ONCE = 128
_CHECKOUT_SHARE = 0.6
_DECLINED_SHARE = 0.01
_SKUS = tuple(f"sku-{number}" for number in range(100, 108))


class Load:
    """Sends an open loop of requests (Poisson arrivals): a slow shop does not make its shoppers fewer."""

    def __init__(self, endpoints: Path, rate_per_s: float, seed: int) -> None:
        self._endpoints = Endpoints(endpoints)
        self._rate_per_s = rate_per_s
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="shopper")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answers: Counter[int] = Counter()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; requests on their way may still come back."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def rate_at(self, elapsed_s: float) -> float:
        """Return the mean rate in requests a second: 10 % up and down over 3 minutes."""
        return self._rate_per_s * (1 + 0.1 * math.sin(2 * math.pi * elapsed_s / 180))

    def _run(self) -> None:
        began = due = time.monotonic()
        while not self._stop.is_set():
            due += self._random.expovariate(self.rate_at(due - began))
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._pool.submit(self._send, *self._draw())

    def _draw(self) -> tuple[str, str, str]:
        if self._random.random() >= _CHECKOUT_SHARE:
            return "GET", "/orders/latest", ""
        declined = self._random.random() < _DECLINED_SHARE
        order = {
            "sku": self._random.choice(_SKUS),
            "quantity": self._random.randint(1, 4),
            "amount": round(self._random.lognormvariate(3.3, 0.6), 2),
            "card": f"{self._random.randrange(1000, 9999)}-{0 if declined else self._random.randint(1, 9)}",
        }
        return "POST", "/checkout", json.dumps(order)

    def _send(self, method: str, path: str, body: str) -> None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self._endpoints.port("gateway"), timeout=_TIMEOUT_S)
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.read()
            self.answers[answer.status] += 1
            connection.close()
        except (OSError, http.client.HTTPException):
            self.answers[0] += 1
