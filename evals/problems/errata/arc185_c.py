"""Any three places whose numbers have the given sum."""


def check(given: str, expected: str, output: str) -> object:
    _, wanted, *row = map(int, given.split())
    places = list(map(int, output.split()))
    if places == [-1] or expected.split() == ["-1"]:
        return places == [-1] and expected.split() == ["-1"]
    if len(places) != 3 or not 1 <= places[0] < places[1] < places[2] <= len(row):
        return "not three places in order"
    return sum(row[place - 1] for place in places) == wanted
