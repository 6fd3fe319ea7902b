"""From what the user asks for to a finished run: rehearsal, preparation, resume, execution."""

from agent.session.assignment import Assignment as Assignment
from agent.session.assignment import suggested_command as suggested_command
from agent.session.execution import elapsed as elapsed
from agent.session.execution import execute as execute
from agent.session.execution import spent as spent
from agent.session.options import options_from_json as options_from_json
from agent.session.options import wished_decoding as wished_decoding
from agent.session.prepared import Prepared as Prepared
from agent.session.prepared import prepare as prepare
from agent.session.prepared import reopen as reopen
from agent.session.rehearsal import Rehearsal as Rehearsal
from agent.session.rehearsal import rehearse as rehearse
