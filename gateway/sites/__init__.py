"""What a website says about itself: its `_redirects` and `_headers` files."""
