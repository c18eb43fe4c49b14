"""What people write and the lock says, as frozen dataclasses <-> TOML, with errors that name file, line and key."""
