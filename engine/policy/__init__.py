"""Scheduling, persistence and limits as pure functions of state, event and time."""
