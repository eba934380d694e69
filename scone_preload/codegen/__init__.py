"""Emitters: each module is one pure function from the spec, or from an analysed binary, to one output."""
