"""What evaluations of whole agents need of a repository: checkouts without a future, and guarded test runs."""

from forklock.agent.trial.checkout import Baseline as Baseline
from forklock.agent.trial.checkout import TrialReport as TrialReport
from forklock.agent.trial.checkout import check_out as check_out
from forklock.agent.trial.checkout import make_repository as make_repository
from forklock.agent.trial.checkout import try_command as try_command
from forklock.agent.trial.guard import RunnerRules as RunnerRules
from forklock.agent.trial.guard import RunnerState as RunnerState
from forklock.agent.trial.guard import changes_of_the_runner as changes_of_the_runner
