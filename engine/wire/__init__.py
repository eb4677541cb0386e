"""Bytes to records and back: IKE headers, cleartext payloads, UDP encapsulation. No I/O, no clock."""
