"""The writing side of trust: keys, statements, signatures, releases. Reading and believing is ``kubewright.verify``'s."""
