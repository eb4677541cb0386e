"""The session table: the one place where SPI, flow and persistence keys live."""
