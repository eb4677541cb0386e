"""Records as text for people, for terminals from 80 columns on."""
