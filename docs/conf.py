"""Sphinx settings of the site; scripts/publish.py lays out the source and builds it."""

project = "mocap3d"
author = "The mocap3d authors"
copyright = f"{author}. Code: Apache License 2.0. Prose and figures: CC BY 4.0."
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
include_patterns = ["**/*.md", "*.md", "notebooks/*.ipynb", "api/*"]  # what is not a page can be downloaded

# Notebooks show what is stored in them.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

nitpicky = True
nitpick_ignore_regex = [("py:(class|exc)", ".*")]  # those of torch and numpy, and exceptions that are not exported
smartquotes = False
default_role = "code"  # docstrings write `name` as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say them; those of `mocap3d.arguments` are rules, not types
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "mocap3d"
html_css_files = ["site.css"]
html_js_files = ["figures.js"]
html_copy_source = False
mathjax_path = "tex-svg.js"
html_show_search_summary = False  # it would fetch pages, which browsers refuse on the disk
