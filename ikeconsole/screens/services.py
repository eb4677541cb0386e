"""The services: what is set for each, and adding, cloning and removing them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textual import work
from textual.widget import Widget

from engine.config.durations import format_duration
from engine.config.schema import Health, HealthKind
from engine.control.calls import GetSettings
from engine.control.records import Settings
from engine.control.status import ServiceStatus
from ikeconsole.actions import bindings
from ikeconsole.changes.asking import ask
from ikeconsole.render.numbers import UNKNOWN, age
from ikeconsole.render.services import SHORT_SCHEDULERS
from ikeconsole.render.states import service_state
from ikeconsole.screens.engine_settings import EngineSettings
from ikeconsole.screens.place import Place
from ikeconsole.screens.service import Service
from ikeconsole.settings.applying import apply
from ikeconsole.settings.editing import Editing, config_of
from ikeconsole.snapshot import Snapshot
from ikeconsole.widgets.grid import Grid
from ikeconsole.widgets.grid_columns import GridColumn

NO_SERVICE = " No service yet: press n to add one, or edit config.toml and press r."
_NEW_NEEDED = ("name", "address")
"""What a clone must have of its own."""


class Services(Place):
    """All services; each opens as a form."""

    PLACE = "services"
    BINDINGS = bindings("services")

    def __init__(self) -> None:
        super().__init__()
        self._probes: dict[str, str] = {}
        """How the servers of each service are probed: ike 5s."""
        self._base = ""

    @property
    def grid(self) -> Grid[ServiceStatus]:
        """The services."""
        return self.query_one("#services", Grid)

    @property
    def subject(self) -> tuple[str, str]:
        """The service under the cursor."""
        row = self.grid.selected
        return (row.name, "") if row else ("", "")

    def body(self) -> Iterable[Widget]:
        """The grid."""
        yield Grid[ServiceStatus](
            [
                GridColumn("SERVICE", 14, lambda row: row.name, grow=2),
                GridColumn("STATE", 10, lambda row: service_state(row, self.console_app.state_styles), mark=True),
                GridColumn("ADDRESS", 16, lambda row: row.address, grow=2),
                GridColumn("PORTS", 11, lambda row: f"{row.ike_port}+{row.nat_t_port}"),
                GridColumn("SCHED", 5, lambda row: SHORT_SCHEDULERS.get(row.scheduler, row.scheduler)),
                GridColumn("PERSIST", 10, _persistence),
                GridColumn("UP", 6, _servers_up, right=True, mark=True),
                GridColumn("HEALTH", 10, lambda row: self._probes.get(row.name, UNKNOWN), from_width=100),
                GridColumn("SOURCE", 11, lambda row: row.source, from_width=110),
                GridColumn("FOLLOWING", 9, lambda row: "on" if row.port_following else "off", from_width=130),
                GridColumn("SESSIONS", 8, lambda row: str(row.sessions), right=True, from_width=130),
            ],
            key=lambda row: row.name,
            empty=NO_SERVICE,
            id="services",
        )

    def show(self, snapshot: Snapshot) -> None:
        """Draw the services."""
        self.grid.show(snapshot.status.services)
        self.refresh_bindings()

    async def look(self) -> None:
        """Read again how servers are probed when another configuration is in force."""
        snapshot = self.console_app.snapshot
        if snapshot is not None and snapshot.status.config_digest != self._base:
            settings = await self.console_app.link.ask(GetSettings())
            self._base = snapshot.status.config_digest
            self._probes = {service.name: _probe(service.health) for service in config_of(settings).services}
            self.grid.refresh()

    def offers(self, action: str) -> bool:
        """A service is cloned and removed where there is one."""
        return action not in ("clone", "remove") or (self.is_mounted and self.grid.selected is not None)

    def on_grid_opened(self) -> None:
        """Open the service's form."""
        if row := self.grid.selected:
            self.app.push_screen(Service(row.name))

    def action_engine(self) -> None:
        """Open the form of the engine's own settings."""
        self.app.push_screen(EngineSettings())

    @work(exclusive=True)
    async def action_add(self) -> None:
        """Fill in a new service."""
        if editing := await self._begin():
            self._fill_in(editing, {})

    @work(exclusive=True)
    async def action_clone(self) -> None:
        """Fill in another service like the selected one."""
        row, editing = self.grid.selected, await self._begin()
        if editing is not None and row is not None:
            for service in editing.value(("service",)):
                if service["name"] == row.name:
                    self._fill_in(editing, {key: value for key, value in service.items() if key not in _NEW_NEEDED})
                    return

    @work(exclusive=True)
    async def action_remove(self) -> None:
        """Remove the selected service, once it was said what that does."""
        row, editing = self.grid.selected, await self._begin()
        if editing is None or row is None:
            return
        names = [service["name"] for service in editing.value(("service",)) or ()]
        if row.name in names:
            editing.remove(("service", names.index(row.name)))
            await apply(self.console_app, editing, f"Remove {row.name}?")

    async def _begin(self) -> Editing | None:
        settings: Settings | None = await ask(self.console_app, GetSettings(), "not possible")
        return None if settings is None else Editing(settings)

    def _fill_in(self, editing: Editing, table: dict[str, Any]) -> None:
        place = editing.add(("service",), table)
        self.app.push_screen(Service("", editing, place))


def _persistence(row: ServiceStatus) -> str:
    """Its first word and how long: the rest is in the form."""
    words = {"source-address": "source", "ike-spi": "spi"}
    if row.persistence == "none":
        return "none"
    return f"{words.get(row.persistence, row.persistence)} {age(row.persistence_timeout_s)}"


def _probe(health: Health) -> str:
    return str(health.type) if health.type is HealthKind.NONE else f"{health.type} {format_duration(health.interval_s)}"


def _servers_up(row: ServiceStatus) -> str:
    return f"{sum(server.health == 'up' for server in row.servers)} of {len(row.servers)}"
