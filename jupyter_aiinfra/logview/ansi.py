"""Colours of a terminal as data: the SGR escape sequences that survive, and what to draw for them.

A line of a log keeps its colours as normalised SGR sequences in its text. This module reads them
back as ``(style, text)`` pieces, and writes HTML that can carry nothing but text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["PLAIN", "Style", "ansi_html", "apply_sgr", "spans", "strip_ansi"]

_SGR = re.compile(r"\x1b\[([0-9;:]*)m")
_MAX_PARAMETERS = 64  # characters; a longer sequence is not a colour but an accident
_LEVELS = (0, 95, 135, 175, 215, 255)  # the channel values of the 6x6x6 cube of 256 colours


class Style(NamedTuple):
    """How text is drawn. A colour is its own SGR parameters (``"31"``, ``"48;5;208"``)."""

    fg: str = ""
    bg: str = ""
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False
    strike: bool = False

    @property
    def sgr(self) -> str:
        """The parameters that set exactly this style on a fresh terminal."""
        flags = zip(_FLAG_CODES, self[2:], strict=True)
        codes = [code for code, on in flags if on]
        return ";".join([*codes, *filter(None, (self.fg, self.bg))])


_FLAG_CODES = ("1", "2", "3", "4", "7", "9")
_FLAGS_ON = dict(zip(map(int, _FLAG_CODES), Style._fields[2:], strict=True))
_FLAGS_OFF = {
    22: ("bold", "dim"),
    23: ("italic",),
    24: ("underline",),
    27: ("inverse",),
    29: ("strike",),
}
PLAIN = Style()


@lru_cache(maxsize=512)
def apply_sgr(style: Style, parameters: str) -> Style:
    """Return `style` after an SGR sequence with these parameters; unknown ones change nothing."""
    if len(parameters) > _MAX_PARAMETERS:
        return style
    codes = iter(_codes(parameters))
    for code in codes:
        if code == 0:
            style = PLAIN
        elif code in _FLAGS_ON:
            style = _changed(style, {_FLAGS_ON[code]: True})
        elif code in _FLAGS_OFF:
            style = _changed(style, dict.fromkeys(_FLAGS_OFF[code], False))
        elif code in {38, 48}:
            colour = _extended(codes)
            if colour:
                style = _changed(style, {_ground(code): f"{code};{colour}"})
        elif code in {39, 49}:
            style = _changed(style, {_ground(code): ""})
        elif 30 <= code <= 47 or 90 <= code <= 107:  # noqa: PLR2004 - the two blocks of SGR colours
            style = _changed(style, {_ground(code): str(code)})
    return style


def _changed(style: Style, changes: dict[str, Any]) -> Style:
    return style._replace(**changes)


def _ground(code: int) -> str:
    return "fg" if code % 60 < 40 else "bg"  # noqa: PLR2004 - 30-39, 90-97 | 40-49, 100-107


def _codes(parameters: str) -> list[int]:
    codes: list[int] = []
    for parameter in parameters.split(";"):
        if ":" not in parameter:
            codes.append(int(parameter or 0))
            continue
        # Colons group the parts of one attribute; 38:2 may carry an empty colour space.
        parts = [int(part) for part in parameter.split(":") if part]
        if parts[:1] == [4]:
            codes.append(4 if parts[1:] != [0] else 24)
        elif parts:
            codes.extend(parts[:2] + parts[-3:] if parts[1:2] == [2] else parts)
    return codes


def _extended(codes: Iterator[int]) -> str:
    """Read the rest of an extended colour: ``5;n`` or ``2;r;g;b``; empty when malformed."""
    count = {5: 1, 2: 3}.get(mode := next(codes, 0), 0)
    values = [value for value, _ in zip(codes, range(count), strict=False)]
    if not count or len(values) < count or any(value > 255 for value in values):  # noqa: PLR2004
        return ""
    return ";".join(map(str, (mode, *values)))


def spans(text: str) -> list[tuple[Style, str]]:
    """Split a line into pieces of one style each; the sequences themselves are gone."""
    if "\x1b" not in text:
        return [(PLAIN, text)] if text else []
    pieces: list[tuple[Style, str]] = []
    style, at = PLAIN, 0
    for match in _SGR.finditer(text):
        if match.start() > at:
            pieces.append((style, text[at : match.start()]))
        style, at = apply_sgr(style, match[1]), match.end()
    if at < len(text):
        pieces.append((style, text[at:]))
    return pieces


def strip_ansi(text: str) -> str:
    """Return `text` without its colours."""
    return _SGR.sub("", text) if "\x1b" in text else text


def ansi_html(text: str) -> str:
    """Return `text` as HTML: escaped, with classes for the 16 colours a theme may choose.

    Only colours that a program gave by number (256 colours, true colour) are written out, since
    no theme has a name for them.
    """
    return "".join(_span(style, piece) for style, piece in spans(text))


def _span(style: Style, text: str) -> str:
    escaped = html.escape(text)
    if style == PLAIN:
        return escaped
    classes = [name for name, on in zip(Style._fields[2:], style[2:], strict=True) if on]
    inline = []
    grounds = ("bg", "fg") if style.inverse else ("fg", "bg")
    for ground, colour in zip(grounds, (style.fg, style.bg), strict=True):
        if ";" in colour:
            inline.append(f"{'color' if ground == 'fg' else 'background-color'}:{_rgb(colour)}")
        elif colour:
            classes.append(f"{ground}-{_palette(int(colour))}")
    attributes = ' class="' + " ".join(f"aiinfra-{name}" for name in classes) + '"'
    if inline:
        attributes = (attributes if classes else "") + f' style="{";".join(inline)}"'
    return f"<span{attributes}>{escaped}</span>"


def _palette(code: int) -> int:
    """Return the number 0-15 of one of the 16 named colours."""
    return code % 10 + (8 if code >= 90 else 0)  # noqa: PLR2004 - 90-107 are the bright ones


def _rgb(colour: str) -> str:
    _, mode, *values = map(int, colour.split(";"))
    if mode == 2:  # noqa: PLR2004 - SGR's own number for red, green, blue
        return f"rgb({values[0]},{values[1]},{values[2]})"
    index = values[0]
    if index < 16:  # noqa: PLR2004
        return f"var(--aiinfra-ansi-{index})"
    if index >= 232:  # noqa: PLR2004 - 24 greys end the table
        grey = 8 + (index - 232) * 10
        return f"rgb({grey},{grey},{grey})"
    index -= 16
    red, green, blue = (_LEVELS[index // step % 6] for step in (36, 6, 1))
    return f"rgb({red},{green},{blue})"
