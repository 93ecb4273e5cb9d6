"""Websites in a real Chromium."""
