"""Sphinx, for `tox -e docs`: the pages as a site, and the reference made from the docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

import aioapiclient

# The plugins of this repository are in the reference, and need not be installed.
sys.path[:0] = [str(path) for path in Path(__file__).parents[1].glob("middleware/*/src")]

project = "aioapiclient"
author = "aioapiclient contributors"
copyright = "aioapiclient contributors"
release = version = aioapiclient.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
# The anchors that GitHub makes, so that a link to a heading works in both places.
myst_heading_anchors = 3

# The docstrings write `Name` for anything that has a page: what resolves is a link, the rest is code.
default_role = "py:obj"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = "aioapiclient"
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
# `type` is an attribute of three classes, and a builtin in signatures.
suppress_warnings = ["ref.python"]

# The output of a prompt is grey in other styles, too light on the background of a block.
pygments_style = "tango"
pygments_dark_style = "monokai"
