"""A page that shows, and never changes, what is in a store and on a chain."""
