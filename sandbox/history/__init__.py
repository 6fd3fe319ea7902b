"""What commits of a repository hold, and what differs from them: read by a git that runs in a sandbox."""
