"""trio drivers: listeners, upstream sockets, transparent plumbing."""
