"""Training, evaluation, registry, serving, scoring and monitoring: the code that runs on Ray."""
