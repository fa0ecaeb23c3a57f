"""The body of a request: where its bytes come from, how often they can be sent, and how they are encoded."""
