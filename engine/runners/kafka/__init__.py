"""The Kafka runner: the same steps as long-running workers on Apache Kafka.

`docs/decisions` says how a crash, a rebalance and a restart keep the promise of the same bytes.
"""
