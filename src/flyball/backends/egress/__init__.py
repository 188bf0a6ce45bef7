"""The only way out: one function that sends to listed destinations, and the code hosts that take comments."""
