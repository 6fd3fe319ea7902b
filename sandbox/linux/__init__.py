"""Linux primitives: processes, limits, control groups, system-call filters, mounts, private directories."""
