"""The settings that concern the whole engine."""

from __future__ import annotations

from engine.config import schema
from ikeconsole.actions import bindings
from ikeconsole.screens.form import Form
from ikeconsole.settings.editing import Editing, Place


class EngineSettings(Form):
    """The form of [engine]."""

    PLACE = "form"
    BINDINGS = bindings("form")
    RECORD = schema.EngineSection
    HEADER = "engine"

    @property
    def title_words(self) -> str:
        """The engine."""
        return "the engine"

    @property
    def crumb(self) -> str:
        """The engine."""
        return "engine"

    def find(self, editing: Editing) -> Place | None:
        """Always there, if only with defaults."""
        return ("engine",)
