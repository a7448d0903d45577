"""A run as a web service with a page to try it on."""
