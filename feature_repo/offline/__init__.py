"""Point-in-time feature values, for training and batch scoring."""
