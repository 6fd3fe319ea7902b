"""Any numbers within their bounds whose sum is 0."""


def check(given: str, expected: str, output: str) -> object:
    bounds = list(map(int, given.split()[1:]))
    said, *numbers = output.split()
    if said != expected.split()[0] or said == "No":
        return said == "No" and not numbers and expected.split()[0] == "No"
    values = list(map(int, numbers))
    if len(values) != len(bounds) // 2:
        return "not one number for each pair of bounds"
    within = all(low <= one <= high for low, one, high in zip(bounds[::2], values, bounds[1::2]))
    return within and sum(values) == 0
