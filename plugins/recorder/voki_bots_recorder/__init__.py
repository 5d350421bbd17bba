"""The recorder plugin."""
