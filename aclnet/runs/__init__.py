"""What a run is: its configuration, record, samples, inputs, history and scores."""
