"""What evaluations of whole agents need of a repository: checkouts without a future, and guarded test runs."""

from agent.trial.checkout import Baseline as Baseline
from agent.trial.checkout import TrialReport as TrialReport
from agent.trial.checkout import check_out as check_out
from agent.trial.checkout import make_repository as make_repository
from agent.trial.checkout import try_command as try_command
from agent.trial.guard import RunnerRules as RunnerRules
from agent.trial.guard import RunnerState as RunnerState
from agent.trial.guard import changes_of_the_runner as changes_of_the_runner
