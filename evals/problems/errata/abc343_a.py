"""Any digit but the sum."""


def check(given: str, expected: str, output: str) -> object:
    words = output.split()
    return (
        len(words) == 1 and words[0] in list("0123456789") and int(words[0]) != sum(map(int, given.split()))
    )
