"""Generators of made-up recordings in true raw formats."""
