"""Pulls: what nobody sends is fetched, and kept like what is sent (see `opsbrain.keep`)."""
