"""A file that every gateway has, so that the first read works before anything was uploaded."""

SAMPLE_NAME = "hello.txt"
SAMPLE = b"""Hello! This file comes out of your own IPFS gateway.

Its address is made from its bytes: whoever has the address can check that nothing was changed,
and the same bytes have the same address on every IPFS gateway there is.
"""
