"""The command line ``headrace``; ``python -m flows.cli`` runs it too."""
