"""The datasets that aclnet knows, one file each: what they are, where to get them, what opens them.

Each file has a tuple `DATASETS` of specs. Readers are imported when raw data are opened.
"""
