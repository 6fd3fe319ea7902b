"""Where a fault is: suspects ranked from evidence."""
