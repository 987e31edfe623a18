"""What is due (`plan`), and the sensors and schedules that start it."""
