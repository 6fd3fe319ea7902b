"""Kernel primitives: processes, limits, control groups, seccomp, mounts, orphans."""
