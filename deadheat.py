"""The one command line: mounts the commands of the three packages; nothing else."""
