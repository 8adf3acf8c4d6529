"""Floor 1: the similarity graph of the images, its communities and its duplicates."""
