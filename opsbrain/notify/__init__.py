"""Telling people: signed CloudEvents to webhooks, alerts to Alertmanager, both out of a durable outbox."""
