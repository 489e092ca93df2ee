"""Statistics of measured values: data frames in, data frames out; no plotting, no reading of files."""
