"""The parts of a delivery that concern its process: signals, deadlines, forks, and pauses between attempts."""
