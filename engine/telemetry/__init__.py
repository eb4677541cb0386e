"""What the engine tells of itself: rates, how they went, and what is wrong."""
