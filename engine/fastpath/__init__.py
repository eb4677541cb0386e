"""ESP-in-UDP of established flows, forwarded in the kernel by an XDP program."""
