"""What runs came to, for people to read."""
