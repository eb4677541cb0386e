"""Changes to the configuration that are looked at before they are made: their text, their difference, their effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tomlkit.exceptions import TOMLKitError

from engine.config.changes import changes
from engine.config.edit import replace_config
from engine.config.load import Loaded, read_tables
from engine.config.problems import ConfigError
from engine.config.save import difference
from engine.config.schema import Config
from engine.control.records import ConfigProblem, Plan
from engine.effects import effect
from engine.live import Live

CHANGES_SUMMED_UP = 3
SUMMARY_CHARACTERS = 200


class Uneditable(Exception):
    """A text in which a change cannot be made in place; `changes` says what is to be changed."""

    def __init__(self, message: str, changes: list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.changes = changes


@dataclass(frozen=True, slots=True)
class Draft:
    """A configuration that is not in force: the text that the file would have, and what it says."""

    text: str
    config: Config


def make_draft(loaded: Loaded, tables: Mapping[str, object]) -> Draft:
    """The file changed so that it says `tables`; raises `ConfigError` for what is wrong in them, and `Uneditable`."""
    config = read_tables(tables, loaded.path)
    try:
        return Draft(replace_config(loaded.text, loaded.config, config), config)
    except (ValueError, ConfigError, TOMLKitError) as error:
        message = (
            f"{loaded.path} is written so that this cannot be changed in place: "
            "change it in an editor, then take that in with `ikeconsole reload`"
        )
        raise Uneditable(message, changes(loaded.config, config)) from error


def make_plan(loaded: Loaded, draft: Draft, live: Live, name: str) -> Plan:
    """What a draft called `name` changes in the file and does to sessions."""
    diff = difference(loaded.text, draft.text, "running", name)
    _, _, *body = diff.splitlines() or ("", "")
    return Plan(
        problems=[],
        changes=changes(loaded.config, draft.config),
        difference=diff,
        lines_added=sum(line.startswith("+") for line in body),
        lines_removed=sum(line.startswith("-") for line in body),
        effect=effect(loaded.config, draft.config, live),
    )


def problems_of(error: ConfigError) -> Plan:
    """The plan that cannot be carried out, and why."""
    return Plan(problems=[ConfigProblem(key=problem.key, message=problem.message) for problem in error.problems])


def summed_up(summary: str, changed: Sequence[str]) -> str:
    """What history says of a change, in one line: the operator's `summary`, or else what changed."""
    legible = (character for character in summary if character.isprintable() or character.isspace())
    if words := "".join(legible).split():
        return " ".join(words)[:SUMMARY_CHARACTERS]
    told, others = changed[:CHANGES_SUMMED_UP], len(changed) - CHANGES_SUMMED_UP
    return "; ".join([*told, f"{others} more changes"] if others > 1 else changed)
