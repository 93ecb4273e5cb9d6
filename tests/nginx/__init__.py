"""The configuration of nginx that we ship, in a real nginx."""
