"""Any cycle of a graph in which vertex i has one edge, to A[i]."""


def check(given: str, expected: str, output: str) -> object:
    ends = [0, *map(int, given.split()[1:])]
    length, *cycle = map(int, output.split())
    if not 2 <= length == len(cycle) == len(set(cycle)) or not all(1 <= one < len(ends) for one in cycle):
        return "not as many different vertices as it says"
    steps = zip(cycle, cycle[1:] + cycle[:1])
    return all(ends[one] == other for one, other in steps) or "an edge is not there"
