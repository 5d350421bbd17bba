"""The long-running service: dispatch, supervision, API."""
