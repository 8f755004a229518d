"""The bundled examples: data that come with Headrace, and how they become tables."""
