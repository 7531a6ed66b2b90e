"""Fixes: what could be done about a cause, what it would touch, what was proven of it, and how to take it back."""
