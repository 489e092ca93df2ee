"""What lies under results/: written whole, read with checks, copied, merged, mended. Needs no torch."""
