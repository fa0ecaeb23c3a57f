"""One call: the public methods in `client`, how a call runs in `base`, and what both are made of.

`config` resolves the options once, `lifecycle` knows the loop and what is in flight, `polling` waits for
long-running operations, `raw_response` and `resource` serve the authors of SDKs.
"""
