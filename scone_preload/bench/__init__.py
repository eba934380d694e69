"""What wrapping costs: the rows of DESIGN section 12, native and by both exits in turn, behind `tools/bench`."""
