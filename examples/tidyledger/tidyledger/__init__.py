"""Personal bookkeeping in plain Python."""

from tidyledger.ledger import Entry, Ledger
from tidyledger.money import allocate, format_cents, parse_cents

__all__ = ["Entry", "Ledger", "allocate", "format_cents", "parse_cents"]
