"""What the field in hand means: beside the form where there is room, else below it."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from ikeconsole.settings.field_help import CHOICES, HELP
from ikeconsole.settings.schema_fields import Field

NARROW_LINES = 3


class FieldHelpPane(Static):
    """Help, default and choices of one field."""

    def __init__(self) -> None:
        super().__init__()
        self._field: Field | None = None
        self._key = ""
        self._wide = False

    def tell(self, key: str, field: Field | None, *, wide: bool) -> None:
        """Explain a key of the schema; `wide` shows its choices too."""
        if (key, wide) == (self._key, self._wide):
            return
        self._key, self._field, self._wide = key, field, wide
        name = Content.styled(key.rpartition(".")[2] if field is None else field.label, "bold")
        default = "" if field is None or field.default in (None, "", []) else f"default {field.show(field.default)}"
        parts: list[Content] = [name, Content.styled(f"  {default}" if default else "", "dim")]
        choices = CHOICES.get(key, {})
        if not wide:
            self.update(Content.assemble(*parts, "  ", HELP.get(key, "")), layout=False)
            return
        lines = [Content.assemble(*parts), Content(""), Content(HELP.get(key, ""))]
        for choice, meaning in choices.items():
            lines += [Content(""), Content.styled(choice, "$text-accent"), Content(f"  {meaning}")]
        self.update(Content("\n").join(lines), layout=False)
