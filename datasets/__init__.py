"""What the data is: layouts, readers of raw formats, protocols, the store and its stream."""

if __name__ == "datasets":
    raise ImportError("this folder is the package aclnet.datasets; import it by that name")
