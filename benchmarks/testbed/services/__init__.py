"""The services of the shop, a module a service; where versions differ in code, a module a version."""
