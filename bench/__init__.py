"""Measurements, as ratios of one run. See docs/performance.md."""
