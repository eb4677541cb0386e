"""The forwarding engine of ikeconsole: sockets, sessions, policy, health and control."""
