"""Stores as files for other software: what each form is, its writer and its reader."""
