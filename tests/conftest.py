"""What all tests share: property tests judge what is computed, not how fast a busy machine draws the examples."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("headrace", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headrace")
