"""Floor 1: the text of an image: what is written in it and what can be said of it."""
