"""What the child processes of a run do: read and divide data, train, evaluate and package."""
