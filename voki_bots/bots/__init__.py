"""Bots, their plugins, and their sessions in calls."""
