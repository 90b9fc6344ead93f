"""Arrays in, matplotlib ``Figure`` out: one house style, one module per kind of picture."""
