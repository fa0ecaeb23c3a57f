"""Sphinx, for `tox -e docs`: the pages as they are, as HTML. GitHub renders them too."""

from __future__ import annotations

project = "aioapiclient"
extensions = ["myst_parser"]
# The anchors that GitHub makes, so that a link to a heading works in both places.
myst_heading_anchors = 3
# index.md lists the pages by plain links, which GitHub shows as well; a toctree it would not.
suppress_warnings = ["toc.not_included"]
nitpicky = True
html_theme = "alabaster"
html_theme_options = {"description": "The class under a typed API client", "page_width": "72rem"}
