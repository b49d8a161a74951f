"""One thin Click module for each command."""

if __name__ == "cli":
    raise ImportError("this folder is the package aclnet.cli; import it by that name")
