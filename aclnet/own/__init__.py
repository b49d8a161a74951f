"""Networks and losses of the user: found by name, built, and checked (docs/networks.md)."""
