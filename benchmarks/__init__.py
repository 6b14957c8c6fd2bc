"""Side-by-side measurements; each prints its figures and a last line of JSON."""
