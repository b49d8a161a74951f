"""Recognition by distance of embeddings: gait, re-identification, one-shot tests."""
