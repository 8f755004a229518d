"""One self-contained HTML page about one run of the lifecycle, for a person to read."""

from ray_cluster.report.content import ReportContent
from ray_cluster.report.page import render, write_report

__all__ = ["ReportContent", "render", "write_report"]
