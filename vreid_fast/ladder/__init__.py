"""Ladders: the rows of a table, each trained with several seeds, and what each row adds to another."""
