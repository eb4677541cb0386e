"""What the console looks like: themes, colours of states, remembered choices."""
