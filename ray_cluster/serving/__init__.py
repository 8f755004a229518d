"""The live endpoint: one Ray Serve application per model, a gateway before them, and the log of what they said."""
