"""check: everything that is wrong with a configuration file, without touching anything."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from ikeconsole.exits import Exit
from ikeconsole.locate import config_path


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """None of its own; -c names the file."""


def execute(options: Namespace) -> int:
    """Print every problem as FILE:KEY: message, or that there is none."""
    from engine.config.advice import advice
    from engine.config.load import load
    from engine.config.problems import ConfigError

    path = config_path(options)
    try:
        config = load(path).config
    except ConfigError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return Exit.BAD_CONFIG
    for problem in advice(config):
        print(f"{path}:{problem.key}: advice: {problem.message}")
    servers = sum(len(service.real_servers) for service in config.services)
    print(f"{path}: ok: {_counted(len(config.services), 'service')}, {_counted(servers, 'real server')}")
    return Exit.OK


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
