"""The response: users hold a `response`, whose first part is a `head`; a transport provides the `source`."""
