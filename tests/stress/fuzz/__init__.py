"""Fuzzing of every parser, see `python -m tests.stress.fuzz --help`.

Modules of aclnet are imported inside functions: Atheris can only measure what is imported later.
"""
