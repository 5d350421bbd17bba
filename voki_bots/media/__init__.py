"""The audio (and video) side: transport, order, time, files."""
