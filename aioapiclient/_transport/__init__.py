"""The wire: one aiohttp request and its response. Only the modules in this folder send with aiohttp.

`transport` is the innermost handler, `connector` manages the pool, `request_body` and `response_body` carry
and check the bodies, `decompression` limits the memory of decompressing, `errors` maps the exceptions of
aiohttp, and `proxies` reads the environment.
"""
