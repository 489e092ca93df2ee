"""How good a transport map is. Arrays of points are float64 [N, D]."""
