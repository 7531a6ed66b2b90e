"""The incident page: one self-contained HTML file that works offline, in light and dark, and on a phone."""
