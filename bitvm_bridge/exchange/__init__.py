"""Set-up between parties that do not trust each other: signed documents, and what each party does with them."""
