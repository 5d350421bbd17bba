"""A Voki to develop against; an independent oracle."""
