"""Command line and operator console: always a client of the control socket."""
