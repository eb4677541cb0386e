"""What all tests share."""

import gc
import os
import time

from hypothesis import HealthCheck, settings

# Time limits for single examples would fail on a busy machine and prove nothing.
settings.register_profile("ikeconsole", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ikeconsole")

# Colours are those of a good terminal, whatever the tests are run in.
os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}

# Clock times on screens are local ones.
os.environ["TZ"] = "UTC"
time.tzset()

# A console is many objects: to look at all of them as often as Python does takes a third of its tests' time.
gc.set_threshold(20_000, 20, 20)
