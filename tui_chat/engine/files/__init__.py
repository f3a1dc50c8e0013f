"""Models as files: the registry of models.toml, the hub cache, and the model directories."""
