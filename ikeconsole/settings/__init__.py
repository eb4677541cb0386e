"""The configuration while it is edited: fields, changes, merging, applying."""
