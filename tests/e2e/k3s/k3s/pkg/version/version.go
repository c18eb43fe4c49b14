package version

var (
	Version   = "dev"
	GitCommit = "HEAD"
)
