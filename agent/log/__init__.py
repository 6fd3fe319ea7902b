"""A run's events: the log, redaction, recorded answers, and the views that are derived from it."""

from agent.log.events import LogFault as LogFault
from agent.log.events import RunLog as RunLog
from agent.log.events import read_events as read_events
from agent.log.schema import SCHEMA as SCHEMA
from agent.log.schema import BaselineTaken as BaselineTaken
from agent.log.schema import CandidateRuled as CandidateRuled
from agent.log.schema import DiffApplied as DiffApplied
from agent.log.schema import Event as Event
from agent.log.schema import ForksFound as ForksFound
from agent.log.schema import LoggedPlace as LoggedPlace
from agent.log.schema import MessageRef as MessageRef
from agent.log.schema import ModelAnswered as ModelAnswered
from agent.log.schema import ModelAsked as ModelAsked
from agent.log.schema import ModelSource as ModelSource
from agent.log.schema import NoteMade as NoteMade
from agent.log.schema import PlacesRanked as PlacesRanked
from agent.log.schema import RunEnded as RunEnded
from agent.log.schema import RunResumed as RunResumed
from agent.log.schema import RunStarted as RunStarted
from agent.log.schema import StepEnded as StepEnded
from agent.log.schema import StepStarted as StepStarted
from agent.log.schema import report_from_json as report_from_json
from agent.log.schema import report_to_json as report_to_json
