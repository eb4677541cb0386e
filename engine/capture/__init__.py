"""Captures of single clients' IKE messages: caught in the engine, decoded and kept as pcap where they are read."""
