"""Training images: emoji art on plain or painted backgrounds, with structured captions. No torch in here."""
