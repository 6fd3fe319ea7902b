from datetime import date

import pytest

from tidyledger.ledger import Entry, Ledger


def make_ledger():
    ledger = Ledger()
    ledger.post(Entry(date(2024, 1, 3), "bank", 10000, "salary"))
    ledger.post(Entry(date(2024, 1, 1), "cash", 2000, "gift"))
    ledger.transfer(date(2024, 1, 5), "bank", "cash", 3000)
    return ledger


def test_balance_on_a_day():
    ledger = make_ledger()
    assert ledger.balance("bank") == 7000
    assert ledger.balance("bank", date(2024, 1, 4)) == 10000


def test_entries_come_by_day():
    assert [entry.description for entry in make_ledger()][:2] == ["gift", "salary"]


def test_running_balance_is_kept_per_account():
    rows = [(entry.account, balance) for entry, balance in make_ledger().running()]
    assert rows == [("cash", 2000), ("bank", 10000), ("bank", 7000), ("cash", 5000)]


def test_lowest_balance():
    ledger = Ledger()
    ledger.post(Entry(date(2024, 1, 1), "bank", -500, "fee"))
    ledger.post(Entry(date(2024, 1, 2), "cash", 9000, "gift"))
    ledger.post(Entry(date(2024, 1, 3), "bank", -300, "fee"))
    assert ledger.lowest("bank") == -800


def test_bad_input_is_refused():
    with pytest.raises(ValueError):
        Ledger().post(Entry(date(2024, 1, 1), "", 1, "x"))
    with pytest.raises(ValueError):
        Ledger().transfer(date(2024, 1, 1), "a", "b", 0)
