"""Probes of real servers and the state machine that judges them."""
