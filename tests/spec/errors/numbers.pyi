# Takes the place of numbers.pyi.

class Number:
    read = 0  # error: duplicate number 0
    twin = 0  # error: duplicate number 0 # error: twin has no row
    again = 1  # error: again has no row # error: duplicate name again
    again = 2  # error: again has no row # error: duplicate name again
    beyond = 512  # error: beyond has no row # error: number 512 is outside of 0..511
