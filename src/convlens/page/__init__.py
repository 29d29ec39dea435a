"""The self-contained page: a network and photos in, one HTML file out."""

from convlens.page.gather import report
from convlens.page.parts import Finding, PhotoReport, Report

__all__ = ["Finding", "PhotoReport", "Report", "report"]
