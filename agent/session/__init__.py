"""From what the user asks for to a finished run: rehearsal, preparation, resume, execution."""

from forklock.agent.session.assignment import WRITE_TEST as WRITE_TEST
from forklock.agent.session.assignment import Assignment as Assignment
from forklock.agent.session.assignment import WriteTest as WriteTest
from forklock.agent.session.assignment import suggested_command as suggested_command
from forklock.agent.session.execution import elapsed as elapsed
from forklock.agent.session.execution import execute as execute
from forklock.agent.session.execution import spent as spent
from forklock.agent.session.first_step import first_requests as first_requests
from forklock.agent.session.options import options_from_json as options_from_json
from forklock.agent.session.options import wished_decoding as wished_decoding
from forklock.agent.session.prepared import Prepared as Prepared
from forklock.agent.session.prepared import prepare as prepare
from forklock.agent.session.prepared import reopen as reopen
from forklock.agent.session.rehearsal import Rehearsal as Rehearsal
from forklock.agent.session.rehearsal import rehearse as rehearse
