"""Themes that are shipped can be read by everybody; themes of others are validated before they are used."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem
from textual.app import App, ComposeResult
from textual.color import Color, rgb_to_lab
from textual.pilot import Pilot
from textual.theme import BUILTIN_THEMES, Theme
from textual.widgets import Static

from ikeconsole.looks import themes
from ikeconsole.looks.state_styles import DERIVED_FROM, ROW_CURSOR, contrast_ratio, state_styles, state_variables
from ikeconsole.looks.themes import (
    COLOUR_VARIABLES,
    DEFAULT_THEME,
    MAX_FILES,
    TEXT_STYLE_VARIABLES,
    Colour,
    ConsoleTheme,
    known_theme,
    load_themes,
    register_themes,
    search_path,
)

PROJECT = Path(__file__).parents[2]
OURS, _ = load_themes(search_path()[:1])
GROUNDS = ("background", "surface", "panel", ROW_CURSOR, "block-cursor-background", "block-cursor-blurred-background")

MINIMAL = """
name = "mine"
title = "Mine"
dark = true
[colors]
primary = "#87afd7"
foreground = "#d7dae0"
background = "#15171a"
success = "green"
warning = "#ffd75f"
error = "#ff8787"
"""


def colours(theme: Theme) -> dict[str, str]:
    """Every variable that style sheets see with `theme`."""
    return state_variables(theme) | theme.to_color_system().generate() | theme.variables


def painted(text: str, ground: Color) -> Color:
    """The colour of text on a ground, with `auto` and transparency worked out as Textual does."""
    if text.startswith("auto"):
        return ground + ground.get_contrast_text(float(text.removeprefix("auto ").rstrip("%")) / 100)
    return ground + Color.parse(text)


def in_256(colour: Color) -> Color:
    return Color.from_rich_color(colour.rich_color.downgrade(ColorSystem.EIGHT_BIT))


TERMINALS = {"true colour": lambda colour: colour, "256 colours": in_256, "NO_COLOR": lambda colour: colour.monochrome}


def test_the_shipped_themes_are_there_and_valid() -> None:
    found, problems = load_themes(search_path()[:1])
    assert problems == []
    assert {theme.name for theme in found} >= {"night", "day", "contrast", "colorblind"}
    assert {theme.name for theme in found if not theme.dark} >= {"day"}
    assert all(theme.title for theme in found)


@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_text_and_states_can_be_read_on_every_ground(theme: ConsoleTheme, terminal: str) -> None:
    """WCAG AA on every kind of terminal, AAA in the theme that promises it, for the row under the cursor too."""
    given_colours, seen = colours(theme), TERMINALS[terminal]
    least = 7 if theme.name == "contrast" else 4.5
    for ground in (Color.parse(given_colours[name]) for name in GROUNDS):
        for name in ("foreground", "text", "text-muted", "primary", *DERIVED_FROM):
            text = painted(given_colours[name], ground)
            assert contrast_ratio(seen(text), seen(ground)) >= least, (name, ground.hex)


@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *[("button-color-foreground", ground) for ground in ("primary", "success", "warning", "error")],
        *[(text, "footer-background") for text in ("footer-key-foreground", "footer-description-foreground")],
        ("block-cursor-foreground", "block-cursor-background"),
        ("input-cursor-foreground", "input-cursor-background"),
    ],
)
def test_controls_can_be_read(theme: ConsoleTheme, text: str, ground: str) -> None:
    given_colours = colours(theme)
    below = Color.parse(given_colours[ground])
    least = 7 if theme.name == "contrast" else 4.5
    assert contrast_ratio(painted(given_colours[text], below), below) >= least


@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_the_cursor_row_can_be_seen(theme: ConsoleTheme) -> None:
    """Also where the terminal has 256 colours and rounds the grounds."""
    cursor, background = (Color.parse(colours(theme)[name]) for name in (ROW_CURSOR, "background"))
    assert contrast_ratio(cursor, background) >= 1.2
    assert in_256(cursor) != in_256(background)


# Linear RGB as people see it who lack one kind of cone, after Viénot, Brettel and Mollon (1999).
DEUTERANOPIA = ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0))
PROTANOPIA = ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0))


def seen_with(matrix: tuple[tuple[float, float, float], ...], colour: Color) -> Color:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized]
    mixed = [min(1.0, max(0.0, sum(f * part for f, part in zip(row, linear, strict=True)))) for row in matrix]
    encoded = [12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055 for part in mixed]
    return Color(*(round(255 * part) for part in encoded))


def difference(one: Color, other: Color) -> float:
    """How far apart two colours look (CIE 1976; 2.3 is just noticeable)."""
    here, there = rgb_to_lab(one), rgb_to_lab(other)
    return sum((a - b) ** 2 for a, b in zip(here, there, strict=True)) ** 0.5


@pytest.mark.parametrize("matrix", [DEUTERANOPIA, PROTANOPIA], ids=["deuteranopia", "protanopia"])
@pytest.mark.parametrize("theme", OURS, ids=lambda theme: theme.name)
def test_states_are_told_apart_by_the_colour_blind(
    theme: ConsoleTheme, matrix: tuple[tuple[float, float, float], ...]
) -> None:
    """Far apart in the theme made for it; noticeably in the others, where the glyph and the word say it too."""
    least = 25 if theme.name == "colorblind" else 12
    up, drain, down = (
        seen_with(matrix, Color.parse(colours(theme)[name])) for name in ("state-up", "state-drain", "state-down")
    )
    assert min(difference(up, drain), difference(drain, down), difference(up, down)) >= least


@pytest.mark.parametrize("name", sorted(BUILTIN_THEMES))
def test_a_theme_that_knows_nothing_of_states_gets_legible_ones(name: str) -> None:
    theme = BUILTIN_THEMES[name]
    derived = state_variables(theme)
    assert derived.keys() == {*DERIVED_FROM, ROW_CURSOR}
    assert state_styles(theme).up
    if not theme.ansi:
        given_colours = colours(theme)
        grounds = [Color.parse(given_colours[ground]) for ground in ("background", "surface", "panel", ROW_CURSOR)]
        ratios = [contrast_ratio(Color.parse(derived[text]), ground) for text in DERIVED_FROM for ground in grounds]
        assert min(ratios) >= 4.5


def test_styles_of_cells_are_those_that_the_theme_gives() -> None:
    """A transparent colour is laid over the background: a cell has no other."""
    theme = Theme("t", "#87afd7", background="#000000", variables={"state-up": "#ffffff80", "state-down": "#ff0000"})
    assert state_styles(theme).up == "#808080"
    assert state_styles(theme).down == "bold #ff0000"


def write(directory: Path, name: str, content: str | bytes) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_later_directory_overrides_by_name(tmp_path: Path) -> None:
    write(tmp_path / "etc", "one.toml", MINIMAL)
    write(tmp_path / "own", "another.toml", MINIMAL.replace("Mine", "Better"))
    found, problems = load_themes([tmp_path / "etc", tmp_path / "none", tmp_path / "own"])
    assert [theme.title for theme in found] == ["Better"]
    assert problems == []


def test_the_users_own_directory_is_looked_at_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert search_path()[1:] == [Path("/etc/ikeconsole/themes"), tmp_path / "ikeconsole" / "themes"]
    write(tmp_path / "ikeconsole" / "themes", "night.toml", MINIMAL.replace('"mine"', '"night"'))
    found, _ = load_themes()
    assert [theme.title for theme in found if theme.name == "night"] == ["Mine"]


def test_an_installed_console_finds_the_themes_of_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the wheel puts them; a checkout has them in its top folder."""
    wheel = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    installed = tmp_path / wheel["force-include"]["themes"]
    installed.mkdir(parents=True)
    assert search_path()[0] == PROJECT / "themes"
    monkeypatch.setattr(themes, "__file__", str(tmp_path / "ikeconsole" / "looks" / "themes.py"))
    assert search_path()[0] == installed


def test_the_guide_names_every_variable_and_its_example_is_valid(tmp_path: Path) -> None:
    guide = (PROJECT / "docs" / "themes.md").read_text()
    assert [name for name in (*COLOUR_VARIABLES, *TEXT_STYLE_VARIABLES) if f"`{name}`" not in guide] == []
    write(tmp_path, "harbour.toml", guide.partition("```toml\n")[2].partition("```")[0])
    [theme], problems = load_themes([tmp_path])
    assert (theme.title, problems) == ("Harbour", [])


def test_variables_reach_the_style_sheets(tmp_path: Path) -> None:
    extra = '[variables]\nstate-up = "rgb(1,2,3)"\nblock-cursor-text-style = "bold  underline"\n'
    write(tmp_path, "mine.toml", MINIMAL + extra)
    [theme], _ = load_themes([tmp_path])
    assert theme.variables == {"state-up": "#010203", "block-cursor-text-style": "bold underline"}


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ('"#87afd7"', '"blurple"', "colors.primary", "'blurple' is no colour: write for example \"#87afd7\""),
        ('"#87afd7"', '"ansi_red"', "colors.primary", "'ansi_red' is no colour: write for example \"#87afd7\""),
        ('"#87afd7"', "7", "colors.primary", '7 is no colour: write for example "#87afd7"'),
        ("error =", "eror =", "colors.eror", "is no key here: did you mean error?"),
        ("dark = true", 'dark = "yes"', "dark", "must be true or false"),
        ("dark = true", "", "dark", "is missing: write it"),
        ("dark = true", "dark = true\ntext_alpha = 2", "text_alpha", "must be a number <= 1.0"),
        ("dark = true", "dark = true\nvariables = 1", "variables", "must be a table"),
        ('"mine"', '"My Theme"', "name", "'My Theme' is no name: write a-z, 0-9 and \"-\", at most 32 characters"),
        ('"Mine"', '"\\u001b[2J"', "title", "'\\x1b[2J' is no title: write one line of at most 32 characters"),
        ("dark = true", "dark =", "4:7", "is not TOML: Invalid value: correct this line"),
        (
            "dark = true",
            "dark = true\nsize = 1",
            "size",
            "is no key here: remove it, or write one of name, title, dark",
        ),
        ('"#ff8787"', "'red'\n[variables]\nstate-upp='red'", "variables.state-upp", "did you mean state-up?"),
        (
            '"#ff8787"',
            "'red'\n[variables]\nblock-cursor-text-style='loud'",
            "variables.block-cursor-text-style",
            "'loud' is no text style: write one or more of none, bold",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_to_write(
    tmp_path: Path, old: str, new: str, key: str, said: str
) -> None:
    """The theme is left out; the one of that name from before stays."""
    write(tmp_path / "before", "mine.toml", MINIMAL)
    path = write(tmp_path / "bad", "mine.toml", MINIMAL.replace(old, new, 1))
    found, [problem] = load_themes([tmp_path / "before", tmp_path / "bad"])
    assert [theme.title for theme in found] == ["Mine"]
    assert (problem.path, problem.key) == (path, key)
    assert said in problem.message
    assert str(problem).startswith(f"{path}:{key}: ")


def test_files_that_are_no_themes_are_named_and_hurt_nothing(tmp_path: Path) -> None:
    """Not text, too large, nested without end, no file, a link to itself or to nothing: a message each."""
    write(tmp_path, "a-bytes.toml", b"name = '\xff'")
    write(tmp_path, "b-large.toml", b"#" * 70_000)
    write(tmp_path, "c-deep.toml", "a = " + "[" * 20_000)
    write(tmp_path, "d-number.toml", "a = " + "9" * 5_000)
    (tmp_path / "e-directory.toml").mkdir()
    os.mkfifo(tmp_path / "f-pipe.toml")
    (tmp_path / "g-loop.toml").symlink_to("g-loop.toml")
    (tmp_path / "h-nowhere.toml").symlink_to("nothing")
    (tmp_path / "i-endless.toml").symlink_to("/dev/zero")
    write(tmp_path, ".hidden.toml", "")
    write(tmp_path, "notes.txt", "")
    write(tmp_path, "z-good.toml", MINIMAL)
    found, problems = load_themes([tmp_path])
    assert [theme.name for theme in found] == ["mine"]
    assert [(problem.path.name, problem.message.partition(":")[0]) for problem in problems] == [
        ("a-bytes.toml", "is not UTF-8 at line 1"),
        ("b-large.toml", "is larger than 64 KiB"),
        ("c-deep.toml", "is not a file of settings"),
        ("d-number.toml", "is not a file of settings"),
        ("e-directory.toml", "is a directory"),
        ("f-pipe.toml", "is no ordinary file"),
        ("g-loop.toml", "cannot be read"),
        ("h-nowhere.toml", "leads to no file"),
        ("i-endless.toml", "is no ordinary file"),
    ]


def test_two_files_of_one_directory_with_one_name(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", MINIMAL)
    write(tmp_path, "b.toml", MINIMAL.replace("Mine", "Other"))
    [theme], [problem] = load_themes([tmp_path])
    assert theme.title == "Mine"
    assert str(problem) == f"{tmp_path / 'b.toml'}:name: mine is the name of a.toml already: choose another"


def test_a_directory_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "themes", "")
    _, [problem] = load_themes([file])
    assert str(problem) == f"{file}: is not a directory: make it one, or remove it"

    def refuse(_: Path) -> None:  # root may read everything, so the refusal is made up
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    _, [problem] = load_themes([tmp_path])
    assert "may not be read by this user: grant the right with chmod" in str(problem)


def test_a_directory_of_very_many_themes_is_bounded(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        write(tmp_path, f"{number:03}.toml", MINIMAL.replace('"mine"', f'"mine-{number}"'))
    found, [problem] = load_themes([tmp_path])
    assert len(found) == MAX_FILES
    assert f"holds {MAX_FILES + 1} themes" in problem.message


@given(st.text() | st.from_regex(r"(rgb|rgba|hsl|hsla)\([0-9.,% -]*\)|#[0-9a-f]*|ansi_[a-z]*"))
def test_any_text_is_a_colour_or_refused(text: str) -> None:
    try:
        colour = Colour.read(text)
    except ValueError:
        return
    assert Color.parse(colour).hex == colour


KEYS = st.sampled_from(["name", "title", "colors", "variables", "primary", "` - at `$.colors"]) | st.text(max_size=9)
VALUES = st.recursive(st.text(max_size=9) | st.integers() | st.booleans(), lambda inner: st.dictionaries(KEYS, inner))


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_whatever_a_file_says_there_is_a_theme_or_one_problem_in_one_line(content: dict[str, object]) -> None:
    with TemporaryDirectory() as directory:
        write(Path(directory), "any.toml", tomli_w.dumps(content))
        found, problems = load_themes([Path(directory)])
    assert len(found) + len(problems) == 1
    assert all(str(problem).isprintable() for problem in problems)


class Host(App[None]):
    """An app as small as can be that wears our themes and shows a state in each way."""

    CSS = "#up { color: $state-up; background: $row-cursor; }"

    def __init__(self) -> None:
        super().__init__()
        self.theme_problems = register_themes(self)
        self.theme = known_theme(self, DEFAULT_THEME)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return state_variables(self.current_theme)

    def compose(self) -> ComposeResult:
        yield Static("● up", id="up")


@pytest.mark.asyncio
async def test_style_sheets_see_our_variables_in_every_theme() -> None:
    """Ours and Textual's: what a theme does not give follows from what it gives."""
    app = Host()
    async with app.run_test() as pilot:
        for name, theme in app.available_themes.items():
            app.theme = name
            await pilot.pause()
            assert app.query_one("#up").styles.color == Color.parse(colours(theme)["state-up"]), name


@pytest.mark.asyncio
async def test_an_unknown_theme_leaves_the_default() -> None:
    app = Host()
    assert known_theme(app, "mine") == DEFAULT_THEME
    assert known_theme(app, "day") == "day"


def test_without_any_theme_file_the_console_still_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(themes, "search_path", lambda: [tmp_path / "gone"])
    assert Host().theme in BUILTIN_THEMES


async def shown(pilot: Pilot[None]) -> tuple[str, list[Color]]:
    """The first line of the screen and the colours in it, as they go to the terminal."""
    await pilot.pause()
    strip = pilot.app.screen._compositor.render_strips()[0].apply_filter(
        pilot.app.get_line_filters()[-1], Color(0, 0, 0)
    )
    styles = [segment.style for segment in strip if segment.style]
    return strip.text, [
        Color.from_rich_color(part) for style in styles for part in (style.color, style.bgcolor) if part
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("name", [theme.name for theme in OURS])
async def test_no_color_leaves_greys_with_glyph_and_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Host()
    async with app.run_test() as pilot:
        app.theme = name
        text, greys = await shown(pilot)
    assert text.startswith("● up")
    assert greys
    assert all(grey.r == grey.g == grey.b for grey in greys)
