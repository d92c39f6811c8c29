"""The commands of `python -m vreid_fast.data`: check, crop and pack, and what they are made of."""
