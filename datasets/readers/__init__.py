"""Readers of raw formats, one file each, against the contract of `aclnet.datasets.spec.source`."""
