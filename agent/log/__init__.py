"""A run's events: the log, redaction, recorded answers, and the views that are derived from it."""

from forklock.agent.log.events import LogFault as LogFault
from forklock.agent.log.events import RunLog as RunLog
from forklock.agent.log.events import read_events as read_events
from forklock.agent.log.schema import SCHEMA as SCHEMA
from forklock.agent.log.schema import BaselineTaken as BaselineTaken
from forklock.agent.log.schema import CandidateRuled as CandidateRuled
from forklock.agent.log.schema import ChangedFile as ChangedFile
from forklock.agent.log.schema import DiffApplied as DiffApplied
from forklock.agent.log.schema import DiffUndone as DiffUndone
from forklock.agent.log.schema import Event as Event
from forklock.agent.log.schema import ForksFound as ForksFound
from forklock.agent.log.schema import LoggedPlace as LoggedPlace
from forklock.agent.log.schema import MessageRef as MessageRef
from forklock.agent.log.schema import ModelAnswered as ModelAnswered
from forklock.agent.log.schema import ModelAsked as ModelAsked
from forklock.agent.log.schema import ModelSource as ModelSource
from forklock.agent.log.schema import NoteMade as NoteMade
from forklock.agent.log.schema import PlacesRanked as PlacesRanked
from forklock.agent.log.schema import RunEnded as RunEnded
from forklock.agent.log.schema import RunResumed as RunResumed
from forklock.agent.log.schema import RunStarted as RunStarted
from forklock.agent.log.schema import StepEnded as StepEnded
from forklock.agent.log.schema import StepStarted as StepStarted
from forklock.agent.log.schema import report_from_json as report_from_json
from forklock.agent.log.schema import report_to_json as report_to_json
