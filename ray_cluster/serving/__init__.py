"""The live endpoint: one Ray Serve application per model, a gateway in front of them, and the prediction log."""
