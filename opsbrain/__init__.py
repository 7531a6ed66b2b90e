"""The application: command line, settings, workers, receivers, notifications; wires the other packages together."""

__version__ = "0.1.0"
