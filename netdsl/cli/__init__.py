"""The command line: one module a command, each a thin shell over the compiler or the trainer."""
