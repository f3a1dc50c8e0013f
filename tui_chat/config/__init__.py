"""Settings: their layers, config.toml, the keymap, and where files live."""
