from tidyledger.categories import UNKNOWN, RuleBook, category_tree, flatten_tags


def make_book():
    book = RuleBook()
    book.add("market", "food")
    book.add("market parking", "car")
    book.add("rent", "home")
    return book


def test_a_rule_matches_anywhere_in_any_case():
    assert make_book().categorise("Corner MARKET 12") == "food"


def test_nothing_matches():
    assert make_book().categorise("salary") == UNKNOWN


def test_most_specific_rule_wins():
    book = make_book()
    assert book.categorise("market parking lot") == "car"
    book.add("apartment rent", "flat")
    assert book.categorise("rent for the shed") == "home"
    assert book.categorise("apartment rent may") == "flat"


def test_accents_do_not_matter():
    book = RuleBook()
    book.add("café", "fun")
    assert book.categorise("CAFE CENTRAL") == "fun"
    book.add("zurich", "travel")
    assert book.categorise("Hotel Zürich") == "travel"


def test_tags_are_flattened():
    assert list(flatten_tags(["a", "b", "a"])) == ["a", "b"]


def test_nested_tags_are_flattened_to_any_depth():
    nested = ["a", ["b", ["c", ["d"]]], {"e": ["f", {"g": "h"}]}]
    assert list(flatten_tags(nested)) == ["a", "b", "c", "d", "e", "f", "g", "h"]


def test_category_tree():
    assert category_tree(["food:fruit", "food:bread"]) == {"food": {"fruit": {}, "bread": {}}}
