"""The store: preprocessed sequences as one immutable Zarr group, and the stream out of it."""
