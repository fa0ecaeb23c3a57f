"""URLs: the base URL and what is resolved against it, path templates, syntax, and trusted origins."""
