"""Statements that Weir does not answer as PostgreSQL does, and why. What is here is in README.md's "Limits"."""

DIFFERENT = {
}
