"""What the operator does to servers and sessions: previewed, confirmed, done."""
