"""Accessibility faults of a part of a page, as axe-core finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["faults"]

_AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
_RUN = """async selector => {
    const found = await axe.run(selector, { resultTypes: ['violations'] });
    return found.violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, impact, help, nodes }) =>
            `${impact} ${id}: ${help}\\n` + nodes.map(({ html, failureSummary }) =>
                `  ${html}\\n  ${failureSummary}`).join('\\n'));
}"""


def faults(page: Any, selector: str) -> list[str]:
    """Return the serious and critical faults below `selector`, in words; there must be such."""
    assert page.locator(selector).count(), f"nothing on the page is {selector}"
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(path=_AXE)
    found: list[str] = page.evaluate(_RUN, selector)
    return found
