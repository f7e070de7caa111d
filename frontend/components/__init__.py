"""Pure functions from values to elements. No state, no gateway."""
