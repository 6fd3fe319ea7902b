"""For each node of a tree any of those farthest from it."""

import json


def distances(edges: list[list[int]], pairs: list[tuple[int, int]]) -> list[int]:
    """Between the nodes of each pair, by binary lifting."""
    near: list[list[int]] = [[] for _ in range(len(edges) + 1)]
    for one, other in edges:
        near[one].append(other)
        near[other].append(one)
    depth, above, todo = [-1] * len(near), [0] * len(near), [0]
    depth[0] = 0
    for one in todo:
        for other in near[one]:
            if depth[other] < 0:
                depth[other], above[other] = depth[one] + 1, one
                todo.append(other)
    lifts = [above]
    while 1 << len(lifts) < len(near):
        lifts.append([lifts[-1][up] for up in lifts[-1]])
    return [apart(one, other, depth, lifts) for one, other in pairs]


def apart(one: int, other: int, depth: list[int], lifts: list[list[int]]) -> int:
    total = depth[one] + depth[other]
    if depth[one] < depth[other]:
        one, other = other, one
    for step in reversed(range(len(lifts))):
        if depth[one] - depth[other] >= 1 << step:
            one = lifts[step][one]
    for step in reversed(range(len(lifts))):
        if lifts[step][one] != lifts[step][other]:
            one, other = lifts[step][one], lifts[step][other]
    return total - 2 * depth[one if one == other else lifts[0][one]]


def check(given: str, expected: str, output: str) -> object:
    edges, right, found = json.loads(given), json.loads(expected), json.loads(output)
    if len(found) != len(right) or not all(type(one) is int and 0 <= one < len(right) for one in found):
        return "not one node for each"
    return distances(edges, list(enumerate(found))) == distances(edges, list(enumerate(right)))
