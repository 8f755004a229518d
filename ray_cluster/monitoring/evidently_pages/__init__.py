"""Evidently's pages of monitoring: reports, and a project per model with panels over time. They decide nothing."""
