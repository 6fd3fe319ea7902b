"""Docker images that hold a repository's interpreter and dependencies."""
