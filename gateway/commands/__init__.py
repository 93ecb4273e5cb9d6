"""The subcommands of `cidgate`, one module each."""
