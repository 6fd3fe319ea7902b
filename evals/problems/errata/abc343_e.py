"""Any three cubes of side 7 whose parts in one, in two and in three of them have the given volumes."""

from itertools import combinations


def volume(*cubes: list[int]) -> int:
    """Return the volume of what all cubes share."""
    product = 1
    for places in zip(*cubes):
        product *= max(0, min(places) + 7 - max(places))
    return product


def check(given: str, expected: str, output: str) -> object:
    said, *words = output.split()
    if said != expected.split()[0] or said == "No":
        return said == "No" and not words and expected.split()[0] == "No"
    places = list(map(int, words))
    if len(places) != 9 or not all(-100 <= place <= 100 for place in places):
        return "not nine places from -100 to 100"
    cubes = [places[0:3], places[3:6], places[6:9]]
    three = volume(*cubes)
    two = sum(volume(*pair) for pair in combinations(cubes, 2)) - 3 * three
    one = 3 * 7**3 - 2 * two - 3 * three
    return [one, two, three] == list(map(int, given.split())) or f"volumes {one} {two} {three}"
