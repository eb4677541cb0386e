"""Counters and states for Prometheus, read when it asks."""
