"""From the bytes of a body to a typed value: decoders by content type, open unions and error bodies."""
