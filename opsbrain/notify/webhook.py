"""Signed CloudEvents to any HTTP receiver."""

from __future__ import annotations

from collections.abc import Mapping

from engine.notice import Notice
from engine.types import Incident
from opsbrain.notify.cloudevents import CONTENT_TYPE, encode_event, event_id, kind_of
from opsbrain.notify.delivery import Delivery
from opsbrain.notify.post import Poster
from opsbrain.notify.signing import parse_secret, sign
from opsbrain.settings import Webhook


class WebhookNotifier:
    """Tells one receiver by POST: a CloudEvent, with a Standard Webhooks signature by every current secret."""

    refresh_ms = 0

    def __init__(self, config: Webhook) -> None:
        """Reveal the address and the secrets; raise ConfigError that names the key when one cannot be had."""
        key = f"notify.webhooks.{config.name}"
        self._config = config
        self._keys = [parse_secret(one.reveal(f"{key}.secrets"), f"{key}.secrets") for one in config.secrets]
        self._poster = Poster(config.url.reveal(f"{key}.url"), key, config.timeout_s)

    @property
    def name(self) -> str:
        """Return the receiver's name in the settings."""
        return self._config.name

    def compose(self, incident: Incident, notice: Notice) -> Delivery | None:
        """Return the event of this revision, or None if the receiver did not ask for its kind."""
        kind = kind_of(incident)
        if kind not in self._config.kinds:
            return None
        body = encode_event(incident, notice.fixes)
        return Delivery(event_id(incident), self.name, incident.id, kind, body, incident.updated_ms)

    def send(self, delivery: Delivery, marks: Mapping[str, str], now_ms: int) -> str:
        """Send it; the signature's timestamp is that of the attempt, the id stays the same."""
        headers = {**marks, "content-type": CONTENT_TYPE}
        if self._keys:
            headers |= sign(self._keys, delivery.id, now_ms // 1000, delivery.body)
        return self._poster.post(delivery.body, headers, now_ms)
