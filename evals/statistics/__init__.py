"""Statistics: intervals, paired tests, margins, contamination, and the rule of the CI gate. Pure."""
