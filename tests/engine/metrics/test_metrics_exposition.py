"""What is written reads back as the same samples, by the reader that comes with Prometheus' own library."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from engine.metrics.exposition import Family, Page, label

SESSIONS = Family("sessions", "gauge", "Sessions by phase.")
PACKETS = Family("packets_total", "counter", "Packets.")


def read(page: Page) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = b"".join(page.parts()).decode()
    return {
        sample.name: [(each.labels, each.value) for each in family.samples]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_samples_stand_together_by_family_in_whatever_order_they_were_added() -> None:
    page = Page()
    page.add(PACKETS, 1, label("direction", "in"))
    page.add(SESSIONS, 2)
    page.add(PACKETS, 3, label("direction", "out"))
    assert b"".join(page.parts()).decode() == (
        "# HELP packets_total Packets.\n"
        "# TYPE packets_total counter\n"
        'packets_total{direction="in"} 1.0\n'
        'packets_total{direction="out"} 3.0\n'
        "# HELP sessions Sessions by phase.\n"
        "# TYPE sessions gauge\n"
        "sessions 2.0\n"
    )


def test_a_family_without_samples_is_left_out() -> None:
    assert list(Page().parts()) == []


@given(st.text(st.characters(exclude_categories=["Cs"])), st.one_of(st.booleans(), st.integers(0, 2**53), st.floats(0)))
def test_any_value_and_any_text_in_a_label_survive(text: str, value: float) -> None:
    page = Page()
    page.add(SESSIONS, value, label("service", text), label("server", "a"))
    assert read(page) == {"sessions": [({"service": text, "server": "a"}, float(value))]}
