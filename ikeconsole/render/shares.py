"""How a service's sessions are spread over its real servers, as bars."""

from __future__ import annotations

from rich.text import Text

from ikeconsole.render.states import TERMINAL, StateStyles

_EIGHTHS = " ▏▎▍▌▋▊▉"


def share_bar(share: float, weighted_share: float, cells: int, styles: StateStyles = TERMINAL) -> Text:
    """A server's part of the sessions, both 0..1; the tick | stands at the part it should have by weight.

    What lies past the tick is over the share and has another colour.
    """
    full, part = divmod(round(min(max(share, 0.0), 1.0) * cells * 8), 8)
    bar = ("█" * full + (_EIGHTHS[part] if part else "")).ljust(cells)
    if weighted_share <= 0:
        return Text(bar, styles.bar)
    tick = min(int(weighted_share * cells), cells - 1)
    return Text.assemble((bar[:tick], styles.bar), ("|", styles.quiet), (bar[tick + 1 :], styles.bar_over))
