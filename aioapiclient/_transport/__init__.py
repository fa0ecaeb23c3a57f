"""The wire: one aiohttp request and its response. Only the modules of this folder import aiohttp to send.

`transport` is the innermost handler, `connector` keeps the pool, `request_body` and `response_body` watch
what goes and comes, `decompression` bounds it, `errors` maps what aiohttp raises, `proxies` reads the
environment.
"""
