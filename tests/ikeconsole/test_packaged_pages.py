"""Manual pages and completions are those of this command line and this schema, and work where they are used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"
PAGES = PACKAGING / "man"
SCRIPTS = PACKAGING / "completion"
ENGINE = """\
#!/bin/sh
case "$*" in
"servers --names") printf 'vpn/rras-1\\nvpn/rras-2\\nlab/test\\n' ;;
"services --names") printf 'vpn\\nlab\\n' ;;
*) exit 5 ;;
esac
"""
IN_BASH = """\
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_shtab_ikeconsole
printf '%s\\n' "${COMPREPLY[@]}"
"""
IN_FISH = 'source $argv[1]; complete -C (string join -- " " $argv[2..-1])'
IN_ZSH = """\
zmodload zsh/zpty
export COMPLETION=$1 SET_UP='
PS1=
autoload -Uz compinit && compinit -D -u
functions[_ikeconsole]=$(<$COMPLETION); compdef _ikeconsole ikeconsole
compadd() {
    if (( ! ${argv[(I)-[OAD]]} )); then
        local -a found; builtin compadd -O found "$@"; print -rl -- "<"${^found}">"
    fi
    builtin compadd "$@"
}
complete-and-go() { zle complete-word; exit }
zle -N complete-and-go
bindkey "^I" complete-and-go
print READY
'
zpty shell zsh --no-rcs -i
zpty -w shell 'eval $SET_UP'
zpty -r shell line '*READY*'
zpty -n -w shell "${argv[2,-1]}"$'\\t'
while zpty -r shell line; do [[ $line == *\\<*\\>* ]] && print -r -- ${${line%>*}##*<}; done
exit 0
"""
"""Its completion works at a terminal only; there, what is offered is overheard."""
SHELLS = {
    "bash": ["bash", "-c", IN_BASH, "bash"],
    "fish": ["fish", "--no-config", "-c", IN_FISH],
    "zsh": ["zsh", "--no-rcs", "-c", IN_ZSH, "zsh"],
}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program called ikeconsole that knows three real servers."""
    program = tmp_path / "ikeconsole"
    program.write_text(ENGINE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("script", "made"),
    [
        (PAGES / "make_pages.py", ["ikeconsole.1", "ikeconsole.toml.5"]),
        (SCRIPTS / "make_scripts.py", ["ikeconsole.bash", "ikeconsole.fish", "ikeconsole.zsh"]),
    ],
    ids=["manual pages", "completions"],
)
def test_they_are_up_to_date(tmp_path: Path, script: Path, made: list[str]) -> None:
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.iterdir()) == made
    for name in made:
        assert (tmp_path / name).read_text() == (script.parent / name).read_text(), f"{name} is stale: run `make pages`"


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", ["ikeconsole.1", "ikeconsole.toml.5"])
def test_pages_render_without_a_warning(page: str) -> None:
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tutf8", PAGES / page], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.startswith("IKECONSOLE")


def test_the_pages_tell_of_every_command_and_key() -> None:
    command_page, key_page = ((PAGES / name).read_text() for name in ("ikeconsole.1", "ikeconsole.toml.5"))
    assert '.SS "drain \\fISERVICE/SERVER\\fR' in command_page
    assert ".SH EXIT STATUS" in command_page
    assert "\\fBlisten\\fR = " in key_page
    assert "Default: \\(dqweighted\\-least\\-connections\\(dq." in key_page


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dr"], {"drain"}),
        (["drain", ""], {"vpn/rras-1", "vpn/rras-2", "lab/test"}),
        (["drain", "vpn/"], {"vpn/rras-1", "vpn/rras-2"}),
        (["sessions", "--server", "r"], {"rras-1", "rras-2"}),
        (["sessions", "--service", ""], {"vpn", "lab"}),
        (["sessions", "--phase", "e"], {"established"}),
        (["config", "h"], {"history"}),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_commands_and_names_of_the_running_engine_are_completed(
    shell: str, words: list[str], expected: set[str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = [*SHELLS[shell], str(SCRIPTS / f"ikeconsole.{shell}"), "ikeconsole", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == expected
