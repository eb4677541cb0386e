"""Writes the manual pages from what they describe, the command line's parser and the configuration's schema.

python packaging/man/make_pages.py [DIRECTORY]      default: beside this file
"""

from __future__ import annotations

import sys
from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path
from typing import get_origin

import tomlkit
from netaddr import IPAddress

from engine.config.schema import Duration, EngineSection, RealServer, Service
from engine.paths import SYSTEM_CONFIG, SYSTEM_CONTROL_SOCKET
from engine.version import VERSION
from ikeconsole.exits import Exit
from ikeconsole.main import whole_parser
from ikeconsole.settings.field_help import HELP
from ikeconsole.settings.schema_fields import Field, Section, sections

COMMON = ("config", "socket", "help")
"""Options that every command has, described once."""
EXITS = {
    Exit.OK: "Done.",
    Exit.FAILED: "Not done; standard error says why.",
    Exit.USAGE: "The command line cannot be understood.",
    Exit.BAD_CONFIG: "The configuration is not valid; every problem is named with its key.",
    Exit.NO_RIGHT: "A port cannot be had, or a privilege is missing.",
    Exit.UNREACHABLE: "No engine answers at the control socket.",
}
EXAMPLES = {
    "ikeconsole demo": "See it live, as any user: simulated servers and clients on loopback.",
    "ikeconsole check -c config.toml": "What is wrong with a configuration, before it is used.",
    "ikeconsole explain 198.51.100.7": "Why a client is on its real server.",
    "ikeconsole drain always-on-vpn/rras-1": "Keep new clients away from a server before its maintenance.",
    "ikeconsole sessions phase:auth --watch": "Who is connecting now.",
}


def command_page(parser: ArgumentParser) -> Iterator[str]:
    """ikeconsole(1)."""
    yield _title("IKECONSOLE", 1, "User Commands")
    yield _section("NAME", r"ikeconsole \- IKEv2 VPN load balancer with an operator console")
    yield _section("SYNOPSIS", f"{_bold('ikeconsole')} {_text('[OPTIONS] [COMMAND [ARGUMENTS]]')}")
    yield ".SH DESCRIPTION\n"
    yield _text(
        "ikeconsole spreads IKEv2 VPN clients over VPN servers, so that UDP ports 500 and 4500 of a client reach the "
        "same server and the server sees the client's own address. Without a command it opens the console of a running "
        "engine, or of one that it starts. Other commands ask the running engine over its control socket."
    )
    yield ".SH OPTIONS\n"
    yield "Every command takes these, before or behind its name; \\-\\-read\\-only is for the console.\n"
    for action in parser._actions:
        if action.option_strings:
            yield _argument(parser, action)
    yield ".SH COMMANDS\n"
    for name, command in _commands(parser).items():
        arguments = [action for action in command._actions if action.dest not in COMMON]
        yield f'.SS "{" ".join([name, *map(_synopsis, arguments)])}"\n'
        yield _text(_sentence(str(command.description)))
        for action in arguments:
            yield _argument(command, action)
    yield ".SH EXIT STATUS\n"
    for code in Exit:
        yield _item(_bold(str(int(code))), EXITS[code])
    yield ".SH FILES\n"
    yield _item(
        _bold(str(SYSTEM_CONFIG)), "The configuration that is used without -c; if it is not there, ./config.toml."
    )
    yield _item(_bold(str(SYSTEM_CONTROL_SOCKET)), "The control socket of the engine that root or systemd runs.")
    yield _item(_bold("/var/lib/ikeconsole"), "What that engine keeps: the history of its configuration, for one.")
    yield ".SH ENVIRONMENT\n"
    yield _item(_bold("IKECONSOLE_CONFIG"), "The configuration that is used without -c.")
    yield ".SH EXAMPLES\n"
    for line, meaning in EXAMPLES.items():
        yield _item(_bold(line), meaning)
    yield _section("SEE ALSO", r"\fBikeconsole.toml\fR(5), \fBswanctl\fR(8), \fBnft\fR(8)")


def configuration_page() -> Iterator[str]:
    """ikeconsole.toml(5)."""
    yield _title("IKECONSOLE.TOML", 5, "File Formats")
    yield _section("NAME", r"ikeconsole.toml \- configuration of ikeconsole(1)")
    yield ".SH DESCRIPTION\n"
    yield _text(
        f"The configuration is one TOML file, {SYSTEM_CONFIG} or what -c names. Keys that are left out have their "
        'default. Durations are text with units: "250ms", "5s", "1h30m", "7d". `ikeconsole check` names every problem, '
        "`ikeconsole reload` puts a changed file in force without ending a session that can stay, and the console "
        "edits the same file, comments kept."
    )
    for record, header in ((EngineSection, "engine"), (Service, "service"), (RealServer, "service.real_server")):
        for section in sections(record, header):
            yield from _table(section, array=record is not EngineSection and section.key == header)
    yield ".SH EXAMPLE\n.nf\n"
    yield _lines(
        '[[service]]\nname = "always-on-vpn"\naddress = "203.0.113.10"\n\n'
        '[[service.real_server]]\nname = "rras-1"\naddress = "10.0.0.11"\n\n'
        '[[service.real_server]]\nname = "rras-2"\naddress = "10.0.0.12"\n'
    )
    yield ".fi\n"
    yield _section("SEE ALSO", r"\fBikeconsole\fR(1)")


def _table(section: Section, *, array: bool) -> Iterator[str]:
    header = f"[[{section.key}]]" if array else f"[{section.key}]"
    yield f'.SH "{_escape(header)}"\n'
    yield _text(HELP[section.key])
    for field in section.fields:
        default = "Required." if field.default is None else f"Default: {tomlkit.item(field.default).as_string()}."
        yield _item(f"{_bold(field.label)} = {_italic(_kind(field))}", f"{HELP[field.key]} {default}")


def _kind(field: Field) -> str:
    if field.plain is bool:
        return "true or false"
    if field.choices:
        return ", ".join(f'"{choice}"' for choice in field.choices)
    if get_origin(field.plain) is list:
        return '["text", ...]'
    return {int: "number", Duration: '"duration"', IPAddress: '"address"', str: '"text"'}[field.plain]


def _commands(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    (commands,) = (action for action in parser._actions if isinstance(action, _SubParsersAction))
    return commands.choices


def _argument(parser: ArgumentParser, action: Action) -> str:
    value = _value(action)
    names = ", ".join(map(_bold, action.option_strings)) + (f" {_italic(value)}" if value else "")
    told = "" if action.help in (None, SUPPRESS) else parser._get_formatter()._expand_help(action)
    return _item(names if action.option_strings else _italic(value), _sentence(told))


def _synopsis(action: Action) -> str:
    """An argument as it stands behind a command's name in a heading."""
    value = _value(action)
    if not action.option_strings:
        return _italic(value)
    spelled = _bold(action.option_strings[-1]) + (f" {_italic(value)}" if value else "")
    return spelled if action.required else f"[{spelled}]"


def _value(action: Action) -> str:
    """What stands for an argument's value; empty for an option that takes none."""
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices is not None:
        named = "|".join(map(str, action.choices))
    else:
        named = str(action.metavar or action.dest.upper())
    match action.nargs:
        case "?":
            return named if named.startswith("[") else f"[{named}]"
        case "*":
            return f"[{named} ...]"
        case _:
            return named


def _sentence(words: str) -> str:
    """A parser's words for something, as they stand in a page."""
    begun = words[:1].upper() + words[1:]
    return begun if not begun or begun.endswith(".") else f"{begun}."


def _title(name: str, section: int, group: str) -> str:
    return f'.TH {name} {section} "" "ikeconsole {VERSION}" "{group}"\n.nh\n.ad l\n'


def _section(name: str, line: str) -> str:
    return f".SH {name}\n{line}\n"


def _item(head: str, body: str) -> str:
    return f".TP\n{head}\n{_text(body)}"


def _text(words: str) -> str:
    """A paragraph, a sentence a line: an empty one is a line that says nothing."""
    return _lines(words.replace(". ", ".\n") + "\n") if words else r"\&" + "\n"


def _lines(text: str) -> str:
    escaped = (_escape(line) for line in text.splitlines())
    return "".join((rf"\&{line}" if line.startswith((".", "'")) else line) + "\n" for line in escaped)


def _bold(words: str) -> str:
    return rf"\fB{_escape(words)}\fR"


def _italic(words: str) -> str:
    return rf"\fI{_escape(words)}\fR"


def _escape(words: str) -> str:
    """Plain text as troff wants it (groff_char(7)): hyphens that can be copied, quotes that end no argument."""
    plain = words.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq").replace("'", r"\(aq")
    return "".join(each if each.isascii() else rf"\[u{ord(each):04X}]" for each in plain)


def main(directory: Path) -> None:
    """Write both pages."""
    (directory / "ikeconsole.1").write_text("".join(command_page(whole_parser())))
    (directory / "ikeconsole.toml.5").write_text("".join(configuration_page()))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
