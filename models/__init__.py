"""What is learned: log templates, forecasters, forests, and the registry of their versions."""
