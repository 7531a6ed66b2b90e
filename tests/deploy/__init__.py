"""What `deploy/` gives an operator holds: rules, dashboard and units are read by the programs that will read them."""
