"""Turns bytes into Records: one wire format a file, one source a file; nothing else knows a wire format."""
