"""Web service around a tuned classifier, with a page to try it in a browser."""
