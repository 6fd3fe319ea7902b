"""The directory that a sandbox works on: forks, copies, snapshots and diffs."""
