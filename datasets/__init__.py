"""Layouts, readers of raw formats, protocols, and the store with its stream."""

if __name__ == "datasets":
    raise ImportError("this folder is the package aclnet.datasets; import it by that name")
