"""What a run's events say to people: why a candidate fell, what a verdict rests on, and what a turn did."""
