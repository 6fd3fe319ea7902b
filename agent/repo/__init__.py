"""The repository that a run works on: its state, copies, diffs, checkouts without a future, and guarded test runs."""

from forklock.agent.repo.repository import RepoState as RepoState
from forklock.agent.repo.repository import apply_diff as apply_diff
from forklock.agent.repo.repository import clone as clone
from forklock.agent.repo.repository import commit_files as commit_files
from forklock.agent.repo.repository import copy_workspace as copy_workspace
from forklock.agent.repo.repository import diff_between as diff_between
from forklock.agent.repo.repository import file_at as file_at
from forklock.agent.repo.repository import inspect_repo as inspect_repo
from forklock.agent.repo.repository import require_clean as require_clean
from forklock.agent.repo.repository import require_committable as require_committable
from forklock.agent.repo.repository import state_digest as state_digest
