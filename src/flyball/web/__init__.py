"""HTTP and console of the control plane: each handler decodes, calls the app, encodes."""
