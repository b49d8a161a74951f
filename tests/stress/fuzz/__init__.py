"""Fuzzing of every parser, see `python -m tests.stress.fuzz --help`.

Modules of aclnet are imported inside functions, because Atheris only measures later imports.
"""
