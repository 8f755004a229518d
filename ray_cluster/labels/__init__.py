"""Label errors: find suspect labels, write a review queue, and add the corrections that a person accepts."""
