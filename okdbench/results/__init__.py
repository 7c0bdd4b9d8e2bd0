"""Results: one frame of all runs (`frame`), and the cells of a table with verdicts (`cells`)."""
