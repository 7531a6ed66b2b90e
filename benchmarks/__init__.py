"""Scores against public data and the testbed; runs the wired product, found through entry points."""
