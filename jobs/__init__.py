"""Floor 2: configuration, the list of stages, Ray, run folders and the command line."""
