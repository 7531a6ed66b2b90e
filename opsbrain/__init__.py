"""The application: command line, settings, workers, receivers, notifications; wires the other packages together."""
