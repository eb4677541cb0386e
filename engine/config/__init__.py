"""Schema, validation, loading, saving and history of the configuration."""
