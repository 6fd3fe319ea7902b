"""Places in code that a small change can alter: operators, constants, arguments, statements, names."""
