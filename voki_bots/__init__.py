"""Headless media bots for Voki video calls: the public API and nothing else."""
