"""The Phoenix side: channels, REST, tokens."""
