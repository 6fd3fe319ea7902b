"""Any at most N - 1 swaps that sort a permutation."""


def check(given: str, expected: str, output: str) -> object:
    size, *row = map(int, given.split())
    count, *places = map(int, output.split())
    if not 0 <= count < size or len(places) != 2 * count:
        return "not as many swaps as it says, or too many"
    for left, right in zip(places[::2], places[1::2]):
        if not 1 <= left < right <= size:
            return "no places to swap"
        row[left - 1], row[right - 1] = row[right - 1], row[left - 1]
    return row == sorted(row) or "not sorted"
