"""What learned prompts do: the words and norms they have, the features they make, the attention they get."""
