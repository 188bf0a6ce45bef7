"""What a URL chooses: each folder is a port, its adapters, and nothing of machine learning."""
