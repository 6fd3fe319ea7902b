"""Known models: their cards, how they are pulled, converted and checked."""
