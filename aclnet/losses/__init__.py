"""Losses, one file each, the motion families they need, and the module that combines them."""
