"""Training, evaluation, registry, serving, scoring and monitoring: what runs on Ray."""
