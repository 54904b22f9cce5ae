"""The bank dialect of ISO 8583:1987 that service and bank hosts share: codec, framing, MAC and key exchange."""
