"""Those who do the same work, one module each. A module has `REQUIRES` and a class `Receiver`."""
