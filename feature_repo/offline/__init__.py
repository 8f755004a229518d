"""Feature values as of the past, for training and batch scoring."""
