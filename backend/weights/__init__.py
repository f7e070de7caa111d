"""A recipe's weights on this machine: where they are, whether they are whole, and how they come here. No torch."""

from backend.weights.check import missing_weights, problems_of, weights_folder
from backend.weights.pull import pull_weights

__all__ = ["missing_weights", "problems_of", "pull_weights", "weights_folder"]
