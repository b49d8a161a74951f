"""The datasets that aclnet knows, one file each: facts, where to get the data, and their readers.

Each file has a tuple `DATASETS` of specs. Readers are imported when raw data are opened.
"""
