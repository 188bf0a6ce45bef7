"""Models, versions, aliases, evidence, routes, and bundles: a model as verified files."""
