"""What all tests share."""

from hypothesis import HealthCheck, settings

# Time limits for single examples would fail on a busy machine and prove nothing.
settings.register_profile("ikeconsole", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ikeconsole")
