"""What this machine and the real servers can do for a configuration, found out and said."""
