package version

var (
	Package = "github.com/containerd/containerd/v2"
	Version = "unknown"
)
