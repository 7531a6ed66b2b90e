"""The notifiers there are, built from settings: a new kind is one file and one line here."""

from __future__ import annotations

from opsbrain.notify.alertmanager import AlertmanagerNotifier
from opsbrain.notify.delivery import Notifier
from opsbrain.notify.webhook import WebhookNotifier
from opsbrain.secrets import Secret
from opsbrain.settings import Notify


def build_notifiers(config: Notify) -> list[Notifier]:
    """Return a notifier for each receiver in the settings; raise ConfigError that names the key that is wrong."""
    notifiers: list[Notifier] = [WebhookNotifier(one) for one in config.webhooks]
    if config.alertmanager.url != Secret(""):
        notifiers.append(AlertmanagerNotifier(config.alertmanager))
    return notifiers
