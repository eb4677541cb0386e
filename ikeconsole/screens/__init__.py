"""The console's screens: places that are reached by key, and what opens from them."""
