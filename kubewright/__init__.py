"""kubewright: Kubernetes, wrought from source.

One chain, every link checkable with no network: pinned source, network-off build, reproducible artifact.
"""

__version__ = "0.1.0"
