"""Monitor the prediction log: drift, performance once outcomes arrive, a verdict, and Evidently's reports."""
