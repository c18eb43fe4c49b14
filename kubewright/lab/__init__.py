"""Milestones, shown by doing: clusters of containers on one machine, each node installed from a bundle and nothing else.

A node is a container with systemd as PID 1 and a root of locked Debian packages, in a network with no way out (docs/lab.md).
"""
