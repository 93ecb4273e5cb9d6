"""`/api/v1`: what the keeper of a key does with its files."""
