"""URLs: the base URL and references to it, path templates, syntax, and trusted origins."""
