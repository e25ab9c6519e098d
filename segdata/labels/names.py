"""How class names are compared: folded, and with the nearest known one at hand for the message."""

from collections.abc import Iterable
from difflib import get_close_matches

NEAR = 0.65  # share of letters in common: one wrong letter of three is near ("bux", bus), two of four are not


def fold(name: str) -> str:
    """Fold case, spaces and punctuation away; what is left decides whether two names are one.

    Examples
    --------
    >>> fold("Crosswalk - Plain") == fold("crosswalk plain")
    True
    >>> fold("object--traffic-sign--front")
    'objecttrafficsignfront'
    """
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` with the nearest of `known` (leading space), or an empty string if none is near.

    Examples
    --------
    >>> did_you_mean("crosswlk plain", ["Road", "Crosswalk - Plain"])
    " Did you mean 'Crosswalk - Plain'?"
    >>> did_you_mean("zebra", ["Road"])
    ''
    >>> did_you_mean("lane", ["pole", "road"])
    ''
    """
    by_fold = {fold(name): name for name in known}
    near = get_close_matches(fold(word), by_fold, n=1, cutoff=NEAR)
    return f" Did you mean '{by_fold[near[0]]}'?" if near else ""
