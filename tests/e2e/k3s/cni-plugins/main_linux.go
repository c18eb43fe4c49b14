// The combined program of the stand-in: the plugins of containernetworking, which the test made packages of, by the name that
// it is called by.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/plugins/pkg/utils/buildversion"
	hostlocal "github.com/containernetworking/plugins/plugins/ipam/host-local"
	"github.com/containernetworking/plugins/plugins/main/bridge"
	"github.com/containernetworking/plugins/plugins/main/loopback"
	"github.com/containernetworking/plugins/plugins/meta/bandwidth"
	"github.com/containernetworking/plugins/plugins/meta/firewall"
	"github.com/containernetworking/plugins/plugins/meta/flannel"
	"github.com/containernetworking/plugins/plugins/meta/portmap"
)

var plugins = map[string]func(){
	"bandwidth":  bandwidth.Main,
	"bridge":     bridge.Main,
	"firewall":   firewall.Main,
	"flannel":    flannel.Main,
	"host-local": hostlocal.Main,
	"loopback":   loopback.Main,
	"portmap":    portmap.Main,
}

func main() {
	plugin, known := plugins[filepath.Base(os.Args[0])]
	if !known {
		fmt.Fprintln(os.Stderr, buildversion.BuildString("plugins"))
		return
	}
	plugin()
}
