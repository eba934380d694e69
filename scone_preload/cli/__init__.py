"""The commands. Only this layer catches errors broadly and ends the process."""
