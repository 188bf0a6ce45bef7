"""The HTTP API: each handler decodes, asks the app, and encodes."""
