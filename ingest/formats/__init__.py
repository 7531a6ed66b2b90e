"""One wire format a file: message bodies in, rows and dead letters out."""
