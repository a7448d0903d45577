"""What prompts learned: nearest words, norms, attention, class and image features, confusions."""
