from tidyledger.budget import Envelope, plan, with_note


def test_what_is_left_moves_on():
    assert Envelope("food", 100).available([60, 120, 150]) == [40, 20, -30]


def test_the_cap_bounds_what_is_carried_over():
    envelope = Envelope("food", 100, cap=50)
    assert envelope.available([0, 0, 0]) == [100, 150, 150]
    assert envelope.available([180, 0, 20]) == [-80, 20, 100]


def test_plan_grants_in_order():
    assert plan(250, {"rent": 200, "food": 100, "fun": 50}) == {"rent": 200, "food": 50, "fun": 0}


def test_notes_are_not_shared():
    first = with_note("a")
    second = with_note("b")
    assert first == ["a"]
    assert second == ["b"]
    given = ["x"]
    assert with_note("y", given) == ["x", "y"]
    assert given == ["x"]
