"""`python -m ikeconsole`."""

from ikeconsole.main import run

run()
