"""How a delivery deals with its process: signals, deadlines, forks, and pauses between attempts."""
