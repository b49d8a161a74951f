"""Raw skeleton recordings to Zarr stores to training with affinity contrastive learning."""
