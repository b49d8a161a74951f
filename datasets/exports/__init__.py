"""Files that `aclnet export` makes of stores: each form's contents, writer and reader.

Every dataset reads its own exports as raw data.
"""

MARK = "aclnet"
"""Mark of an export: the first key of a pickle, which holds the description; the name of the
description's array in a `.npz`; the first word of an HDF5 file."""
