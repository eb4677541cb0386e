"""The effective configuration is written with every default and reads back as itself."""

from __future__ import annotations

import tomllib
from pathlib import Path

from config_strategies import configs
from hypothesis import given, settings

from engine.config.dump import dump
from engine.config.load import parse
from engine.config.schema import Config


def test_every_default_is_written_as_an_operator_would() -> None:
    text = '[[service]]\nname = "vpn"\naddress = "192.0.2.1"\n'
    service = tomllib.loads(dump(parse(text, Path("x"))))["service"][0]
    assert service["persistence_timeout"] == "30m"
    assert service["persistence_prefix"] == {"v4": 32, "v6": 128}
    assert service["timeouts"]["spi_binding"] == "1h"
    assert service["scheduler"] == "weighted-least-connections"
    assert service["health"]["interval"] == "5s"


def test_the_empty_configuration_reads_back() -> None:
    assert parse(dump(Config()), Path("x")) == Config()


@settings(deadline=None, max_examples=50)
@given(configs())
def test_any_configuration_reads_back_as_itself(config: Config) -> None:
    assert parse(dump(config), Path("x")) == config
