"""Forms are made from the schema: every key has a field, help, and a text that reads back as its value."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from engine.config.decode import array_of, table_of
from engine.config.schema import Config, EngineSection, RealServer, Record, Service
from ikeconsole.settings.field_help import CHOICES, HELP
from ikeconsole.settings.schema_fields import Field, sections

FORMS: dict[str, type[Record]] = {"engine": EngineSection, "service": Service, "service.real_server": RealServer}
FIELDS = [field for header, record in FORMS.items() for section in sections(record, header) for field in section.fields]
COMMAND = next(field for field in FIELDS if field.key == "service.health.command")


def keys(record: type[Record], header: str = "") -> Iterator[str]:
    for info in fields(record):
        key = f"{header}{info.encode_name}"
        yield key
        if below := array_of(info) or table_of(info.type):
            yield from keys(below, f"{key}.")


def field(key: str) -> Field:
    return next(field for field in FIELDS if field.key == key)


def test_every_key_of_the_schema_has_help_and_no_other_has() -> None:
    assert set(keys(Config)) == set(HELP)


def test_every_key_that_is_no_table_is_a_field_of_one_form() -> None:
    tables = {"engine", "engine.metrics", "service", "service.real_server", "service.persistence_prefix"}
    tables |= {"service.timeouts", "service.health", "service.agent"}
    assert sorted(field.key for field in FIELDS) == sorted(set(keys(Config)) - tables)


def test_every_choice_has_a_meaning() -> None:
    assert {field.key: set(field.choices) for field in FIELDS if field.choices} == {
        key: set(meanings) for key, meanings in CHOICES.items()
    }


def test_defaults_read_back_as_the_default_and_so_does_an_empty_text() -> None:
    for one in FIELDS:
        assert one.read(one.show(one.default)) is None
        assert one.read(" ") is None


def test_a_text_that_is_no_number_stays_text_for_the_decoder_to_complain_of() -> None:
    assert field("service.ike_port").read("700") == 700
    assert field("service.ike_port").read("70O") == "70O"
    assert field("service.port_following").read("off") is False


@given(st.lists(st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8), min_size=1))
def test_lists_read_back_as_they_were(entries: list[str]) -> None:
    assert COMMAND.read(COMMAND.show(entries)) == entries
