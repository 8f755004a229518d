"""Training frames: a model's rows, their labels, and the features joined to both."""
