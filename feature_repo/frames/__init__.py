"""Training frames: which rows a model is about, their labels, and the features joined to both."""
