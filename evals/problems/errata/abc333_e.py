"""The fewest potions ever held, and any way of picking them up that needs no more."""


def check(given: str, expected: str, output: str) -> object:
    most, *picks = output.split()
    if most != expected.split()[0]:
        return "another number of potions"
    if most == "-1":
        return not picks
    held: dict[str, int] = {}
    now = largest = 0
    words, wanted = given.split()[1:], iter(picks)
    for kind, name in zip(words[::2], words[1::2]):
        change = -1
        if kind == "1":
            pick = next(wanted, None)
            if pick not in ("0", "1"):
                return "not 0 or 1 for each potion"
            change = int(pick)
        held[name] = held.get(name, 0) + change
        if held[name] < 0:
            return "a monster wins"
        now += change
        largest = max(largest, now)
    if next(wanted, None) is not None:
        return "too many numbers"
    return largest <= int(most) or f"{largest} potions held"
