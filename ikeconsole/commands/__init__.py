"""The commands: one module a concept, each with `add_arguments` and `execute`."""
