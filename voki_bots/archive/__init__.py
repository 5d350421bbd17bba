"""What is on disk about a call: layout, journal, sidecar, seal, verify."""
