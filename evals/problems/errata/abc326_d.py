"""Any grid with one A, B and C in each row and column, whose first letters are the given ones."""


def check(given: str, expected: str, output: str) -> object:
    size, rows, columns = given.split()
    said, *grid = output.split()
    if said != expected.split()[0] or said == "No":
        return said == "No" and not grid and expected.split()[0] == "No"
    if len(grid) != int(size) or any(len(row) != int(size) for row in grid):
        return "not a grid of that size"
    turned = ["".join(column) for column in zip(*grid)]
    for lines, firsts in ((grid, rows), (turned, columns)):
        for line, first in zip(lines, firsts):
            letters = line.replace(".", "")
            if sorted(letters) != ["A", "B", "C"] or letters[0] != first:
                return "a row or column is not as it must be"
    return True
