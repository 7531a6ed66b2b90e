"""One file a command: thin bodies that read settings and call the parts."""
