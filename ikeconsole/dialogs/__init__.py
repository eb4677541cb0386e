"""Questions that the console puts over a screen."""
