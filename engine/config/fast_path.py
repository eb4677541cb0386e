"""Whether a configuration has work for the fast path."""

from __future__ import annotations

from engine.config.schema import Config, FastPath


def why_not_wanted(config: Config) -> str:
    """Why there is nothing for the kernel to forward; empty: there is."""
    if config.engine.fast_path is FastPath.OFF:
        return "as configured"
    if not config.services:
        return "there is no service"
    if all(service.address.is_loopback() for service in config.services):
        return "the services are on loopback addresses"
    return ""
