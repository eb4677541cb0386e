"""What outlives the engine: sessions are saved while it runs, and taken up again by the next one."""
