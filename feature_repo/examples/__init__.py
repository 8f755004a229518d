"""The bundled examples: data that come with Headrace, and their conversion to tables."""
