"""The self-contained page: a network and photos in, one HTML file out."""

from convlens.page.parts import Finding, PhotoReport, Report
from convlens.page.report import report

__all__ = ["Finding", "PhotoReport", "Report", "report"]
