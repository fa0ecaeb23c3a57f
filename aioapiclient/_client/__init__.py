"""The client: its public methods are in `client`, and `base` builds, sends and decodes a call.

`config` resolves the options once, `lifecycle` tracks the event loop and the calls in flight, `polling` waits
for long-running operations, and `raw_response` and `resource` are for authors of SDKs.
"""
