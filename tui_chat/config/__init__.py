"""Settings: their layers, config.toml, key bindings, and file locations."""
