"""Film reviews that nobody wrote: made of phrases, so that the example runs where no others are at hand."""

from __future__ import annotations

import random

GOOD = ("great", "wonderful", "moving", "clever", "funny", "beautiful", "superb", "charming", "gripping", "warm")
BAD = ("dull", "terrible", "boring", "clumsy", "silly", "ugly", "awful", "tedious", "predictable", "cold")
THINGS = ("film", "story", "script", "cast", "ending", "music", "camera work", "dialogue", "comedy", "thriller")
OPENINGS = ("I saw it twice:", "My sister chose it.", "Well,", "After all that was said:", "On a Sunday evening,", "")
PRAISE = ("I would see it again", "I laughed and I cried", "we talked about it all night", "do not miss it")
BLAME = ("I would not see it again", "I left before the end", "I want my evening back", "do not bother with it")
FORMS = (
    "{opening} a {word} {thing}. {verdict}.",
    "{opening} the {thing} is {word} and the {other} is {same}.",
    "{opening} what a {word} {thing}!<br />And {verdict}.",
    "{opening} the {thing} was not {opposite}, it was {word}.",
    "{opening} I had hoped for a {same} {thing}, and it was {word}.",
    "{opening} they say that the {thing} is {opposite}. It is not: {verdict}.",
)


def reviews(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return so many different reviews, each with its label: "pos" and "neg" in turn."""
    choice = random.Random(seed).choice
    found: dict[str, str] = {}
    while len(found) < count:
        label = ("pos", "neg")[len(found) % 2]
        words, opposites, verdicts = (GOOD, BAD, PRAISE) if label == "pos" else (BAD, GOOD, BLAME)
        parts = {"opening": OPENINGS, "thing": THINGS, "other": THINGS, "word": words, "same": words}
        parts |= {"opposite": opposites, "verdict": verdicts}
        text = choice(FORMS).format(**{name: choice(values) for name, values in parts.items()}).strip()
        found.setdefault(text, label)
    return list(found.items())
