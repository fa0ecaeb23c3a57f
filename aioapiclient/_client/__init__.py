"""The client: its public methods are in `client`, the way of a call is in `base`.

`config` resolves the options once, `lifecycle` tracks the event loop and the calls in flight, `polling` waits
for long-running operations, `raw_response` and `resource` are for the authors of SDKs.
"""
