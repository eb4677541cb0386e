"""engine and demo: the commands that run an engine instead of asking one."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from ikeconsole.exits import Exit, Failure
from ikeconsole.locate import config_path


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """None of their own; -c names the file."""


def execute(options: Namespace) -> int:
    """Run until stopped."""
    if options.command == "demo":
        from ikeconsole import demo

        return demo.run()

    from engine import runtime
    from engine.config.problems import ConfigError

    try:
        return runtime.run(config_path(options))
    except ConfigError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return Exit.BAD_CONFIG
    except runtime.StartError as error:
        raise Failure(Exit.NO_RIGHT, str(error)) from error
