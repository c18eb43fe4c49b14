"""Container images of what was built, as OCI layouts: assembled here byte for byte, no daemon and no base image of others."""
