"""What the process does to a delivery: signals, deadlines, forks, and pauses between attempts."""
