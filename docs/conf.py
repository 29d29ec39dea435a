"""Settings of the documentation site, which `make docs` builds."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
os.environ["CONVLENS_CACHE"] = "off"  # what the gallery shows is computed by the code as it is

import convlens  # noqa: E402

project = "convlens"
author = "The convlens maintainers"
copyright = f"2026, {author}"
version = release = convlens.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "benchmark_list",
    "chapter_gallery",
    "figure_scraper",
    "mathtext_renderer",
    "result_classes",
    "short_types",
]
exclude_patterns = ["_build", "gallery/**", "**/sg_execution_times.rst"]
templates_path = ["_templates"]
smartquotes_action = "D"  # dashes between an argument and its description
default_role = "py:obj"  # docstrings write names in single backticks

# API reference
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# Markdown
myst_heading_anchors = 3

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": ["gallery/chapter", "gallery/at_work"],
    "gallery_dirs": ["chapter", "at_work"],
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("convlens",),
    "backreferences_dir": "reference/backreferences",
    "image_scrapers": ("figure_scraper.scrape",),
    "capture_repr": (),
    "reset_modules": (),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1,
}

# Theme
html_theme = "pydata_sphinx_theme"
html_title = "convlens"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathtext"
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": False,
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
