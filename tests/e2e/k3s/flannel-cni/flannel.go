// The stand-in's flannel plugin. It is a program of its own, which the recipe's patch turns into a package: where the patch
// touches it, it is as the real one.

package main

import (
	"fmt"
	"runtime"

	"github.com/containernetworking/cni/pkg/skel"
	cni "github.com/containernetworking/cni/pkg/version"
)

var (
	Program   string
	Version   string
	Commit    string
	buildDate string
)

func main() {
	about := fmt.Sprintf("CNI Plugin %s version %s (%s/%s) commit %s built on %s", Program, Version, runtime.GOOS, runtime.GOARCH, Commit, buildDate)
	skel.PluginMainFuncs(skel.CNIFuncs{Add: add, Del: nothing, Check: nothing}, cni.All, about)
}

func nothing(*skel.CmdArgs) error {
	return nil
}
