"""What the test of malformed input needs: garbage, and peers that stay honest while it rains."""
