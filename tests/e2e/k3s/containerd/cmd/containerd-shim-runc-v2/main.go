// The stand-in's shim, of a repository that has its dependencies in vendor/.
package main

import (
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/version"
	"github.com/spf13/pflag"
)

func main() {
	flags := pflag.NewFlagSet("shim", pflag.ContinueOnError)
	show := flags.BoolP("version", "v", false, "show the version")
	if err := flags.Parse(os.Args[1:]); err != nil || !*show {
		os.Exit(2)
	}
	fmt.Printf("containerd-shim-runc-v2:\n  Version:  %s\n  Package:  %s\n", version.Version, version.Package)
}
