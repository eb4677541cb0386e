"""The console's widgets, one in a module."""
