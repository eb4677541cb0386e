"""Installation into a directory, upgrades and removal, with a stand-in for Python: what pip does is not tried here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

INSTALL = Path(__file__).parents[2] / "packaging" / "install"

PYTHON = """\
#!/bin/sh
case "$2" in
venv)
    mkdir -p "$3/bin" "$3/lib"
    printf '#!/bin/sh\\necho "$@" >>"%s/asked"\\n' "$3" >"$3/bin/pip"
    cat >"$3/bin/python" <<'EOF'
#!/bin/sh
echo "$(basename "$1") $2" >>"$IKECONSOLE_TEST_CALLS"
exit $IKECONSOLE_TEST_DOWN
EOF
    printf '#!%s/bin/python\\n' "$3" >"$3/bin/ikeconsole"
    echo "command = python -m venv $3" >"$3/pyvenv.cfg"
    chmod +x "$3/bin/"*
    ;;
esac
"""
SYSTEMCTL = """\
#!/bin/sh
echo "systemctl $*" >>"$IKECONSOLE_TEST_CALLS"
[ "$2" != is-active ]
"""
INSTALL_AND_REMOVE = """\
mount -t tmpfs tmpfs /opt
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
"$0"
: >"$IKECONSOLE_TEST_CALLS"
"$0" remove || echo "refused, and $(ls /opt) is still there"
"""
"""On a machine of its own, where systemd is there and nothing is installed yet."""
DATE = """\
#!/bin/sh
echo "20250101-00000$IKECONSOLE_TEST_RELEASE"
"""


class Installing:
    """A directory to install into, and how that is done."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self._programs = directory / "programs"
        self._programs.mkdir()
        self._calls = directory / "calls"
        self.stand_in("python", PYTHON)
        self.stand_in("date", DATE)

    def stand_in(self, name: str, text: str) -> None:
        """Put a script in the place of a program."""
        (self._programs / name).write_text(text)
        (self._programs / name).chmod(0o755)

    def run(self, *arguments: str, release: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script; it takes the release's number for the time."""
        return self._do([str(INSTALL), *arguments], {"IKECONSOLE_TEST_RELEASE": str(release)} | environment)

    def install_and_remove(self, *, down: int) -> subprocess.CompletedProcess[str]:
        """Run it without DESTDIR; `down` is what the installed program's command of that name ends with."""
        self.stand_in("systemctl", SYSTEMCTL)
        for name in ("systemd-sysusers", "systemd-tmpfiles"):
            self.stand_in(name, "#!/bin/sh\n")
        given = {"DESTDIR": "", "PREFIX": str(self.root), "IKECONSOLE_TEST_DOWN": str(down)}
        return self._do(["unshare", "--mount", "sh", "-ec", INSTALL_AND_REMOVE, str(INSTALL)], given)

    def _do(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        given = {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "DESTDIR": str(self.root),
            "PYTHON": "python",
            "IKECONSOLE_TEST_RELEASE": "1",
            "IKECONSOLE_TEST_CALLS": str(self._calls),
        }
        return subprocess.run(
            command, env=given | dict(environment), capture_output=True, text=True, check=False, timeout=60
        )

    def calls(self) -> list[str]:
        """What systemctl and the installed program were asked for by the removal."""
        return self._calls.read_text().splitlines()

    def read(self, path: str) -> str:
        """An installed file's text."""
        return (self.root / path).read_text()

    def releases(self) -> list[str]:
        """What is kept."""
        return sorted(os.listdir(self.root / "opt/ikeconsole/releases"))


@pytest.fixture
def installing(tmp_path: Path) -> Installing:
    return Installing(tmp_path)


def test_everything_has_its_place_and_names_the_paths_it_will_have(installing: Installing) -> None:
    done = installing.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert os.readlink(installing.root / "usr/local/bin/ikeconsole") == "/opt/ikeconsole/current/bin/ikeconsole"
    assert os.readlink(installing.root / "opt/ikeconsole/current") == "releases/20250101-000001"
    release = "opt/ikeconsole/releases/20250101-000001"
    assert installing.read(f"{release}/bin/ikeconsole") == f"#!/{release}/bin/python\n"
    assert str(installing.root) not in installing.read(f"{release}/pyvenv.cfg")
    assert "packaging/lock/run.txt" in installing.read(f"{release}/asked")
    assert "ExecStart=/usr/local/bin/ikeconsole engine\n" in installing.read(
        "usr/local/lib/systemd/system/ikeconsole.service"
    )
    assert installing.read("usr/local/lib/sysusers.d/ikeconsole.conf")
    assert installing.read("usr/local/lib/tmpfiles.d/ikeconsole.conf")
    assert "net.ipv4.ip_forward = 1" in installing.read("usr/local/lib/sysctl.d/60-ikeconsole.conf")


def test_another_prefix_is_named_in_the_unit(installing: Installing) -> None:
    assert installing.run(PREFIX="/usr").returncode == 0
    unit = installing.read("usr/lib/systemd/system/ikeconsole.service")
    assert "ExecStart=/usr/bin/ikeconsole engine\n" in unit
    assert "/usr/local" not in unit


def test_an_upgrade_leaves_the_running_release_alone_and_keeps_the_last_three(installing: Installing) -> None:
    for release in range(1, 6):
        assert installing.run(release=release).returncode == 0
        assert os.readlink(installing.root / "opt/ikeconsole/current") == f"releases/20250101-00000{release}"
    assert installing.releases() == [f"20250101-00000{release}" for release in (3, 4, 5)]


def test_removal_leaves_what_is_the_operators(installing: Installing) -> None:
    installing.run()
    own = installing.root / "etc/ikeconsole/config.toml"
    own.parent.mkdir(parents=True)
    own.write_text("precious")
    done = installing.run("remove")
    assert (done.returncode, done.stderr) == (0, "")
    left = [path for path in installing.root.rglob("*") if not path.is_dir()]
    assert left == [own]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_removal_stops_the_service_and_takes_out_of_the_kernel_what_it_left(installing: Installing) -> None:
    """By the program that is removed, so before that."""
    done = installing.install_and_remove(down=0)
    assert (done.returncode, done.stderr) == (0, "")
    assert installing.calls() == [
        "systemctl --quiet disable --now ikeconsole",
        "ikeconsole down",
        "systemctl daemon-reload",
    ]
    assert "Removed." in done.stdout
    assert "refused" not in done.stdout
    assert [path for path in installing.root.rglob("*") if not path.is_dir()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_nothing_is_removed_while_an_engine_runs_that_systemd_did_not_start(installing: Installing) -> None:
    done = installing.install_and_remove(down=1)
    assert "refused, and ikeconsole is still there" in done.stdout
    assert "systemctl daemon-reload" not in installing.calls()
    assert (installing.root / "lib/systemd/system/ikeconsole.service").exists()


def test_a_python_in_somebodys_home_is_refused(installing: Installing, tmp_path: Path) -> None:
    """The service could not start it."""
    (tmp_path / "programs" / "readlink").write_text("#!/bin/sh\necho /root/.pyenv/bin/python3\n")
    (tmp_path / "programs" / "readlink").chmod(0o755)
    done = installing.run()
    assert done.returncode == 1
    assert "PYTHON=/usr/bin/python3" in done.stderr
    assert not installing.root.exists()


def test_other_words_are_a_usage_error(installing: Installing) -> None:
    assert installing.run("destroy").returncode == 2
