from tidyledger.text import shorten, words


def test_words_are_lower_case():
    assert words("  ACME Corp. 42 ") == ["acme", "corp", "42"]


def test_shorten_cuts_at_a_word():
    assert shorten("a quite long description", 14) == "a quite long…"
    assert shorten("short", 14) == "short"
