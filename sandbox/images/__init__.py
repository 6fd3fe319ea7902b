"""Docker images: the engine's, the default one, and images with a repository's interpreter and dependencies."""
