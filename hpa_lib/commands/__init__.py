"""The subcommands of ``hpa``, one file per group. Each gets the parsed options and returns an exit code."""
