"""Contents of a run: configuration, record, samples, inputs, history and scores."""
