"""Text as it comes from banks, made comparable."""

from __future__ import annotations

import re
import unicodedata


def normalise(text: str) -> str:
    """Lower case, no accents, single spaces: `" CAFÉ  Zürich"` becomes `"cafe zurich"`."""
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return re.sub(r"\s+", " ", plain).strip().casefold()


def words(text: str) -> list[str]:
    """The words of a text, normalised."""
    return re.findall(r"[a-z0-9]+", normalise(text))


def shorten(text: str, width: int) -> str:
    """At most `width` characters, cut at a word boundary where there is one, with `…` for what is gone."""
    if len(text) <= width:
        return text
    cut = text[: width - 1]
    if " " in cut:
        cut = cut[: cut.rindex(" ")]
    return cut.rstrip() + "…"
