"""Networks, one file each, the blocks they share, and their form for inference."""
