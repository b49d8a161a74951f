"""What data are, as contracts: sequences, sources, layouts, protocols, errors."""
