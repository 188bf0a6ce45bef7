"""Numbers in, Signal or Verdict out. No I/O, no clock, no unseeded randomness."""
