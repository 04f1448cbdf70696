"""The learning rate as a function of the epoch."""

import math


def learning_rate(config, epoch):
    """Learning rate in an epoch: P2's division by 10 at each drop, or half a cosine down to zero."""
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))
    return config.learning_rate * 0.1 ** sum(epoch >= drop for drop in config.learning_rate_drops)
