"""The transport: one aiohttp request and its response. Only the modules in this folder send with aiohttp.

`transport` is the innermost handler, `direct` sends plain requests, `connector` manages the pool,
`request_body` and `response_body` transfer and check the bodies, `decompression` limits the memory for
decompression, `errors` maps aiohttp's exceptions, `proxies` reads the environment, and `lookalike` completes
the responses of mocks.
"""
