"""Web service for a tuned classifier, with a page to try it in a browser."""
