"""What of a configuration is beyond operators: it would give them the rights of the engine's own user."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.schema import Config, HealthKind

_PLACES_AND_RIGHTS = ("control_socket", "control_group", "state_dir")


def beyond_operators(before: Config, after: Config) -> Sequence[str]:
    """The keys whose change takes the engine's own user, or root.

    Programs that it would run for the first time, where it keeps its files, and who may use its control socket.
    """
    known = {command for _, command in _programs(before)}
    return [
        *(f"service.{service}.health.command" for service, command in _programs(after) if command not in known),
        *(
            f"engine.{name}"
            for name in _PLACES_AND_RIGHTS
            if getattr(before.engine, name) != getattr(after.engine, name)
        ),
    ]


def _programs(config: Config) -> list[tuple[str, tuple[str, ...]]]:
    """What each service runs to probe its real servers."""
    probed = ((service.name, service.health) for service in config.services)
    return [(name, tuple(health.command)) for name, health in probed if health.type is HealthKind.EXEC]
