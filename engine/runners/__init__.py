"""Runners: the same steps in one process, or on Kafka."""
