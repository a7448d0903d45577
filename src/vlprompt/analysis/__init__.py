"""Analysis of learned prompts: nearest words, norms, attention, class and image features, confusions."""
