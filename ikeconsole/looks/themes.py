"""Themes of the console: TOML files, validated before anything is painted with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta
from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import Theme

from ikeconsole.looks.state_styles import DERIVED_FROM, ROW_CURSOR
from ikeconsole.looks.toml_files import FileProblem, UnusableFileError, os_remedy, read_record, user_directory

DEFAULT_THEME = "night"
MAX_FILES = 200
"""How many theme files of one directory are looked at."""

COLOUR_VARIABLES = (
    *DERIVED_FROM,
    ROW_CURSOR,
    *("text", "text-muted", "text-disabled"),
    *("text-primary", "text-secondary", "text-success", "text-warning", "text-error", "text-accent"),
    *("block-cursor-foreground", "block-cursor-background", "block-hover-background"),
    *("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
    *("input-cursor-foreground", "input-cursor-background"),
    *("input-selection-foreground", "input-selection-background"),
    *("border", "border-blurred"),
    *("scrollbar", "scrollbar-hover", "scrollbar-active", "scrollbar-background"),
    *("footer-foreground", "footer-background", "footer-key-foreground", "footer-key-background"),
    *("footer-description-foreground", "footer-description-background"),
    *("link-color", "button-foreground", "button-color-foreground"),
)
"""The variables that a theme may set to a colour: ours, and those of Textual that the console shows."""

TEXT_STYLE_VARIABLES = ("block-cursor-text-style", "block-cursor-blurred-text-style", "button-focus-text-style")
"""The variables that a theme may set to a style of text."""


class Colour(str):
    """A colour as CSS writes it, kept as #RRGGBB or #RRGGBBAA."""

    __slots__ = ()

    @classmethod
    def read(cls, raw: object) -> Self:
        """The colour spelled `raw`; raises `ValueError` saying what to write."""
        try:
            if isinstance(raw, str) and not raw.startswith("ansi_"):
                return cls(Color.parse(raw).hex)
        except ColorParseError:
            pass
        raise ValueError(f'{_shown(raw)} is no colour: write for example "#87afd7"')


class TextStyle(str):
    """How text is set off, such as bold."""

    __slots__ = ()
    WORDS = ("none", "bold", "italic", "underline", "reverse")

    @classmethod
    def read(cls, raw: object) -> Self:
        """The style spelled `raw`; raises `ValueError` saying what to write."""
        if isinstance(raw, str) and raw.split() and set(raw.split()) <= set(cls.WORDS):
            return cls(" ".join(raw.split()))
        raise ValueError(f"{_shown(raw)} is no text style: write one or more of {', '.join(cls.WORDS)}")


class Slug(str):
    """A name to type: a theme has one."""

    __slots__ = ()

    @classmethod
    def read(cls, raw: object) -> Self:
        """The name spelled `raw`; raises `ValueError` saying what to write."""
        if isinstance(raw, str) and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", raw) and len(raw) <= 32:
            return cls(raw)
        raise ValueError(f'{_shown(raw)} is no name: write a-z, 0-9 and "-", at most 32 characters')


class Title(str):
    """A name to read: a theme has one."""

    __slots__ = ()

    @classmethod
    def read(cls, raw: object) -> Self:
        """The title spelled `raw`; raises `ValueError` saying what to write."""
        if isinstance(raw, str) and raw.strip() and raw.isprintable() and len(raw) <= 32:
            return cls(raw.strip())
        raise ValueError(f"{_shown(raw)} is no title: write one line of at most 32 characters")


def _shown(raw: object) -> str:
    text = ascii(raw)
    return text if len(text) <= 40 else f"{text[:39]}…"


Share = Annotated[float, Meta(ge=0, le=1)]


class _Colors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    primary: Colour
    foreground: Colour
    background: Colour
    success: Colour
    warning: Colour
    error: Colour
    secondary: Colour | None = None
    accent: Colour | None = None
    surface: Colour | None = None
    panel: Colour | None = None
    boost: Colour | None = None


# A record instead of a dictionary: so an unknown or wrong variable is reported by its name.
_Variables = msgspec.defstruct(
    "_Variables",
    [(name.replace("-", "_"), Colour | None, None) for name in COLOUR_VARIABLES]
    + [(name.replace("-", "_"), TextStyle | None, None) for name in TEXT_STYLE_VARIABLES],
    rename="kebab",
    omit_defaults=True,
    forbid_unknown_fields=True,
    frozen=True,
)


class _ThemeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Slug
    title: Title
    dark: bool
    colors: _Colors
    variables: _Variables = msgspec.field(default_factory=_Variables)  # type: ignore[valid-type]  # made at run time
    luminosity_spread: Share = 0.15
    text_alpha: Share = 0.95


@dataclass
class ConsoleTheme(Theme):
    """A theme with a title for people."""

    title: str = ""


def search_path() -> list[Path]:
    """The directories of theme files: ours, the machine's, the user's. A later one overrides by name."""
    installed = Path(__file__).parents[1] / "packaged_themes"
    ours = installed if installed.is_dir() else Path(__file__).parents[2] / "themes"
    own = user_directory()
    return [ours, Path("/etc/ikeconsole/themes"), *([own / "themes"] if own else [])]


def load_themes(directories: Iterable[Path] | None = None) -> tuple[list[ConsoleTheme], list[FileProblem]]:
    """The themes of `directories`, by default of `search_path`, and what is wrong with the files left out."""
    themes: dict[str, ConsoleTheme] = {}
    problems: list[FileProblem] = []
    for directory in search_path() if directories is None else directories:
        here: dict[str, Path] = {}
        for path in _theme_files(directory, problems):
            try:
                theme = _read_theme(path)
                if theme.name in here:
                    taken = f"{theme.name} is the name of {here[theme.name].name} already: choose another"
                    raise UnusableFileError(path, "name", taken)
            except UnusableFileError as error:
                problems.append(error.problem)
            else:
                here[theme.name] = path
                themes[theme.name] = theme
    return list(themes.values()), problems


def register_themes(app: App[Any]) -> list[FileProblem]:
    """Make all themes known to `app`; what is wrong with the files left out."""
    themes, problems = load_themes()
    for theme in themes:
        app.register_theme(theme)
    return problems


def known_theme(app: App[Any], name: str) -> str:
    """`name` if `app` knows a theme of that name, else the default one, else the one the app has."""
    return next((known for known in (name, DEFAULT_THEME) if known in app.available_themes), app.theme)


def _theme_files(directory: Path, problems: list[FileProblem]) -> list[Path]:
    try:
        found = sorted(path for path in directory.iterdir() if path.suffix == ".toml" and path.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(FileProblem(directory, "", os_remedy(error)))
        return []
    if len(found) > MAX_FILES:
        problems.append(
            FileProblem(directory, "", f"holds {len(found)} themes: only {MAX_FILES} are read, remove some")
        )
    return found[:MAX_FILES]


def _read_theme(path: Path) -> ConsoleTheme:
    try:
        file = read_record(path, _ThemeFile)
    except FileNotFoundError as error:
        raise UnusableFileError(path, "", "leads to no file: correct the link, or remove it") from error
    return ConsoleTheme(
        name=file.name,
        title=file.title,
        dark=file.dark,
        luminosity_spread=file.luminosity_spread,
        text_alpha=file.text_alpha,
        variables=msgspec.to_builtins(file.variables, enc_hook=str),
        **msgspec.structs.asdict(file.colors),
    )
