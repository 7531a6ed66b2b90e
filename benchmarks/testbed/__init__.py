"""A shop of real processes under load; a real fault is deployed into it, and what a cluster would ship is recorded."""
