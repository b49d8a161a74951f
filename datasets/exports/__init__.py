"""Files that `aclnet export` makes of stores: what each form is, its writer and its reader.

Every dataset takes its own exports back as raw data.
"""

MARK = "aclnet"
"""Key of the description in a pickle, the first one of the file; its array's name in a `.npz`;
first word of an HDF5 file."""
