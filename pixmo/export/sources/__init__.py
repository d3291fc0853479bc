"""Where the rows of each data set come from: one module a set, each with its `SET`."""
