"""Writes tests that fail now for a statement's reason, where the user gave no check."""

from forklock.agent.reproduction.places import find_site as find_site
from forklock.agent.reproduction.places import named_places as named_places
from forklock.agent.reproduction.writable import require_writable as require_writable
from forklock.agent.reproduction.write import TestWriter as TestWriter
from forklock.agent.reproduction.write import put_test as put_test
