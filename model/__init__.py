"""Floor 1: the S3-DiT, its objective, its training data plan, trainer and sampler."""
