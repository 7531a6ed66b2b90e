"""Root cause analysis: learns topology, gathers evidence, ranks causes of an incident."""
